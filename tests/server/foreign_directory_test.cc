#include "server/foreign_directory.h"

#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

// What is said of a directory with these files and directories (those end with a slash).
absl::Status Of(const std::vector<std::string>& names) {
  CrashFiles files(1);
  REQUIRE(files.MakeDirectories("dir").ok());
  for (const std::string& name : names) {
    if (name.back() == '/') {
      REQUIRE(files.MakeDirectories("dir/" + name.substr(0, name.size() - 1)).ok());
      REQUIRE(WriteAtomically(files, "dir/" + name + "file", "x").ok());
    } else {
      REQUIRE(WriteAtomically(files, "dir/" + name, "x").ok());
    }
  }
  return CheckNotForeign(files, "dir");
}

TEST_CASE("A checkpoint directory is new, empty, or holds something of a run") {
  CrashFiles files(1);
  CHECK(CheckNotForeign(files, "nowhere").ok());
  CHECK(Of({}).ok());
  CHECK(Of({"coordinator/"}).ok());
  CHECK(Of({"journal/", "notes.txt"}).ok());
  CHECK(Of({"step-00000012/", "README"}).ok());
  CHECK(Of({"lost+found/"}).ok());
  CHECK(Of({".snapshot/", ".hidden"}).ok());
}

TEST_CASE("A directory with something else in it is refused, naming what it holds") {
  CHECK(Says(Of({"thesis.tex"}), absl::StatusCode::kFailedPrecondition, {"holds 'thesis.tex'", "of an earlier run"}));
  CHECK(Says(Of({"lost+found/", "t10k-images"}), absl::StatusCode::kFailedPrecondition, {"holds 't10k-images'"}));
  CHECK(Says(Of({"step-1"}), absl::StatusCode::kFailedPrecondition, {"holds 'step-1'"}));
}

TEST_CASE("A checkpoint directory in which the coordinator has nothing is not the one that all share") {
  CrashFiles files(1);
  REQUIRE(files.MakeDirectories("own/journal").ok());
  const absl::Status own = CheckShared(files, "own");
  CHECK(Says(own, absl::StatusCode::kFailedPrecondition, {"--checkpoint_dir=own", "one folder that all ps share"}));
  REQUIRE(files.MakeDirectories("own/coordinator").ok());
  REQUIRE(WriteAtomically(files, "own/coordinator/lock", "").ok());
  CHECK(CheckShared(files, "own").ok());
  CHECK(CheckShared(files, "").ok());
}

}  // namespace
}  // namespace leeway
