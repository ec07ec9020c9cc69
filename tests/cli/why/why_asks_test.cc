// `leeway why` against a coordinator: it asks until it has the waits that there are, and no longer.
#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "cli/why/why.h"
#include "common/codec.h"
#include "common/grpc_server.h"
#include "common/mutex.h"
#include "proto/coordinator.pb.h"
#include "tests/catch.h"

ABSL_DECLARE_FLAG(std::string, coordinator);  // of worker/worker_flags.cc

namespace leeway {
namespace {

// Has some waits when it is asked first, and by every later question a few new ones: of hundreds of workers, each of
// which reports once a second. It ends this when it has been asked for long.
class BusyCoordinator final : public RequestHandler {
 public:
  static constexpr int kLong = 100;

  void Handle(const std::string&, Buffer, ReplyCallback done) override {
    v1::GetStatusReply reply;
    {
      MutexLock lock(mu_);
      const int waits = asked_ == 0 ? 40 : asked_ < kLong ? 3 : 0;
      for (int i = 0; i < waits; ++i) reply.add_waits()->set_worker_id(static_cast<std::uint32_t>(i));
      ++asked_;
    }
    done(absl::OkStatus(), EncodeMessage(reply));
  }
  int asked() {
    MutexLock lock(mu_);
    return asked_;
  }

 private:
  Mutex mu_;
  int asked_ LEEWAY_GUARDED_BY(mu_) = 0;
};

TEST_CASE("leeway why ends though there are new waits whenever it asks") {
  BusyCoordinator coordinator;
  const auto server = GrpcServer::Start("127.0.0.1:0", &coordinator);
  REQUIRE(server.ok());
  absl::SetFlag(&FLAGS_coordinator, absl::StrCat("127.0.0.1:", (*server)->port()));
  CHECK(RunWhy({}, 0, nullptr) == 0);
  CHECK(coordinator.asked() < 10);
}

}  // namespace
}  // namespace leeway
