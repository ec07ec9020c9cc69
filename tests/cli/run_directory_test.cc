#include "cli/run_directory.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/catch.h"
#include "tests/cli/support.h"

namespace leeway {
namespace {

// The directory of a run whose ps-0 was started with `flags`.
std::string EarlierRun(const std::string& name, const std::vector<std::string>& flags) {
  std::string path = TemporaryPath(name);
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  std::ofstream(absl::StrCat(path, "/", kCommandsFile)) << "ps-0: /bin/ps " << absl::StrJoin(flags, " ") << "\n";
  return path;
}

TEST_CASE("An interrupted run is gone on with, whatever the name of the folder that it kept its state in") {
  for (const char* state : {"/state", "/my runs/the state"}) {
    const std::string path = EarlierRun(
        "run_directory_test", {"--listen=127.0.0.1:0", absl::StrCat("--checkpoint_dir=", state), "--lease=2s"});
    const absl::StatusOr<RunDirectory> resumed = MakeRunDirectory(path, state);
    INFO(resumed.status().message());
    REQUIRE(resumed.ok());
    CHECK(resumed->resumed);
    CHECK_FALSE(MakeRunDirectory(path, "/another").ok());
  }
}

TEST_CASE("Of where the earlier processes listened nothing is left") {
  const std::string path = EarlierRun("run_directory_test_ports", {"--checkpoint_dir=/state"});
  for (const char* file : {"/ps-0.port", "/ps-0.http", "/ps-0.log"}) std::ofstream(path + file) << "127.0.0.1:1\n";
  REQUIRE(MakeRunDirectory(path, "/state").ok());
  CHECK_FALSE(std::filesystem::exists(path + "/ps-0.port"));
  CHECK_FALSE(std::filesystem::exists(path + "/ps-0.http"));
  CHECK(std::filesystem::exists(path + "/ps-0.log"));
}

}  // namespace
}  // namespace leeway
