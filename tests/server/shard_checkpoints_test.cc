// A shard's files of a checkpoint, from its cut to its report.
#include "server/shard_checkpoints.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

// A checkpoint's cut is asked for and made, and its files are written; nobody has pushed meanwhile.
v1::CutReport Cut(ShardFixture& f, PumpedExecutor& disk, std::uint64_t id) {
  f.snapshot.mutable_cut()->set_id(id);
  f.snapshot.mutable_cut()->set_name("step-00000001");
  f.snapshot.mutable_cut()->set_limited(false);
  REQUIRE(f.Publish().ok());
  f.snapshot.mutable_cut()->set_limited(true);
  REQUIRE(f.Publish().ok());
  disk.RunAll();
  f.executor.RunAll();
  return f.shard.Describe().cut();
}

TEST_CASE("Weights that hold an infinity or a NaN are not written, and the report says so") {
  constexpr float kHuge = std::numeric_limits<float>::max();
  for (const std::uint32_t chunk : {0u, 1u}) {
    CrashFiles files(1);
    ShardFixture f(ExactPolicy(-1), kLarge);
    PumpedExecutor disk;
    ShardCheckpoints checkpoints({.directory = "dir"}, &files, &disk, &f.shard, nullptr);
    f.shard.set_cut_sink(&checkpoints);
    f.Start(1);
    // Each push is finite; their sum is not.
    for (std::uint64_t step = 0; step < 2; ++step) {
      for (const std::uint32_t each : {0u, 1u}) {
        f.Push(f.PushOf(0, step, each), Filled(f.Elements(each), each == chunk ? kHuge : 1));
        f.executor.RunAll();
      }
      const v1::CutReport report = Cut(f, disk, 1 + step);
      CHECK(report.written() == (step == 0));
      CHECK(report.not_finite() == (step == 1));
      CHECK(absl::StrContains(report.error(), "hold a NaN or an infinity") == (step == 1));
      CHECK(files.List("dir/step-00000001")->size() == 2);  // of the first
      f.snapshot.clear_cut();
      REQUIRE(f.Publish().ok());
    }
  }
}

}  // namespace
}  // namespace leeway
