#include "common/tensorboard_log.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "tests/catch.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

std::optional<Scalars> OneValue(int step) {
  Scalars scalars;
  scalars.step = step;
  scalars.values = {{"train/loss", 1.0 / step}};
  return scalars;
}

// Lets a log take `samples` samples, and the one at the end.
void RunLog(const TensorBoardLog::Options& options, FileSystem* files, int samples,
            const std::function<void(int)>& before = {}) {
  Mutex mu;
  CondVar changed;
  int taken = 0;
  const auto log = std::make_unique<TensorBoardLog>(options, files, [&]() -> std::optional<Scalars> {
    MutexLock lock(mu);
    ++taken;
    changed.NotifyAll();
    if (before) before(taken);
    return OneValue(taken);
  });
  MutexLock lock(mu);
  while (taken < samples) changed.Wait(mu);
}

TensorBoardLog::Options Fast() {
  TensorBoardLog::Options options;
  options.directory = "board";
  options.interval = absl::Milliseconds(1);
  return options;
}

std::vector<std::string> EventFiles(CrashFiles& files) {
  const auto names = files.List("board");
  return names.ok() ? *names : std::vector<std::string>();
}

TEST_CASE("samples go into one file, and the last one is written at the end") {
  CrashFiles files(1);
  int last = 0;
  RunLog(Fast(), &files, 3, [&last](int taken) { last = taken; });
  const std::vector<std::string> names = EventFiles(files);
  REQUIRE(names.size() == 1);
  CHECK(absl::StrContains(names[0], "tfevents"));
  CHECK(last >= 4);
  // The version (24 bytes) and the samples, each with 16 bytes of framing.
  const std::string& bytes = files.Bytes("board/" + names[0]);
  std::size_t records = 0;
  for (std::size_t at = 0; at + 12 <= bytes.size(); ++records) {
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(bytes[at + i]);
    at += 16 + length;
  }
  CHECK(records == static_cast<std::size_t>(1 + last));
}

TEST_CASE("a file that has grown is followed by another, and the oldest is removed") {
  CrashFiles files(1);
  TensorBoardLog::Options options = Fast();
  options.max_file_bytes = 100;  // two samples
  options.max_files = 3;
  RunLog(options, &files, 20);
  std::vector<std::string> names = EventFiles(files);
  REQUIRE(names.size() == 3);
  for (const std::string& name : names) {
    CHECK(files.Bytes("board/" + name).size() < 250);
    CHECK_FALSE(absl::EndsWith(name, ".0"));  // that one is gone
  }
}

TEST_CASE("after a failure a new file is begun; failures leave no more files than successes") {
  CrashFiles files(1);
  TensorBoardLog::Options options = Fast();
  options.max_files = 2;
  int last = 0;
  RunLog(options, &files, 10, [&files, &last](int taken) {
    last = taken;
    files.FailAppends(taken < 8 ? absl::ResourceExhaustedError("no space left") : absl::OkStatus());
  });
  const std::vector<std::string> names = EventFiles(files);
  REQUIRE(names.size() == 2);
  std::size_t largest = 0;
  for (const std::string& name : names) largest = std::max(largest, files.Bytes("board/" + name).size());
  CHECK(largest > 40 + 3 * 40);  // the version, and at least the samples 8, 9, 10
}

TEST_CASE("a sampler that has nothing makes no file") {
  CrashFiles files(1);
  {
    const TensorBoardLog log(Fast(), &files, [] { return std::nullopt; });
  }
  CHECK(EventFiles(files).empty());
}

TEST_CASE("any name gives a folder's name") {
  CHECK(FolderName("worker-1") == "worker-1");
  CHECK(FolderName("../../etc/passwd") == "_.._.._etc_passwd");
  CHECK(FolderName("a/b c\n") == "a_b_c_");
  CHECK(FolderName("") == "_");
}

}  // namespace
}  // namespace leeway
