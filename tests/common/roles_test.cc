// The table of roles: complete, and what each role may not do.
#include "common/roles.h"

#include <set>
#include <string>

#include "proto/checkpoint_store.pb.h"
#include "proto/coordinator.pb.h"
#include "proto/parameter_server.pb.h"
#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("roles: every method of the protocol has a row, and no row is there twice") {
  std::set<std::string> rows;
  for (const MethodRole& row : MethodRoles()) CHECK(rows.insert(row.method).second);
  for (const auto* file : {v1::PullRequest::descriptor()->file(), v1::JoinRequest::descriptor()->file(),
                           v1::ReadCheckpointRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      const auto* service = file->service(s);
      for (int m = 0; m < service->method_count(); ++m) {
        const std::string method = std::string(service->name()) + "/" + std::string(service->method(m)->name());
        CAPTURE(method);
        CHECK(rows.count(method) == 1);
      }
    }
  }
}

TEST_CASE("roles: an observer only looks, a worker decides nothing for others, an admin does the rest") {
  const std::set<std::string> of_workers = {
      "ParameterServer/Pull",       "ParameterServer/Push",       "ParameterServer/PushPull",
      "ParameterServer/PutWeights", "ParameterServer/WatchRound", "Coordinator/Join",
      "Coordinator/Heartbeat",      "Coordinator/Leave",          "Coordinator/OpenPush",
      "Coordinator/AcquireData",    "Coordinator/CommitData",     "Coordinator/ReportProgress"};
  std::set<std::string> found;
  for (const MethodRole& row : MethodRoles()) {
    CAPTURE(row.method);
    const bool looks = std::string(row.method) == "Coordinator/GetStatus";
    const bool works = of_workers.count(row.method) == 1;
    if (works) found.insert(row.method);
    CHECK(LeastRole(row.method) == (looks ? Role::kObserver : works ? Role::kWorker : Role::kAdmin));
  }
  CHECK(found == of_workers);
  for (const char* unknown : {"Coordinator/NoSuch", ""}) CHECK(LeastRole(unknown) == Role::kAdmin);
  CHECK(Role::kObserver < Role::kWorker);
  CHECK(Role::kWorker < Role::kAdmin);
}

TEST_CASE("roles: names there and back") {
  for (const Role role : {Role::kObserver, Role::kWorker, Role::kAdmin}) CHECK(ParseRole(RoleName(role)) == role);
  CHECK_FALSE(ParseRole("root"));
  CHECK_FALSE(ParseRole(""));
  CHECK_FALSE(ParseRole("Admin"));
}

}  // namespace
}  // namespace leeway
