// A shard's files of a checkpoint, from its cut to its report.
#include "server/shard_checkpoints.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/executor.h"
#include "server/checkpoint_upload.h"
#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"
#include "tests/support/store_transport.h"

namespace leeway {
namespace {

// A checkpoint's cut is asked for and made.
void BeginCut(ShardFixture& f, std::uint64_t id) {
  f.snapshot.mutable_cut()->set_id(id);
  f.snapshot.mutable_cut()->set_name("step-00000001");
  f.snapshot.mutable_cut()->set_limited(false);
  REQUIRE(f.Publish().ok());
  f.snapshot.mutable_cut()->set_limited(true);
  REQUIRE(f.Publish().ok());
}

// And its files are written; nobody has pushed meanwhile.
v1::CutReport Cut(ShardFixture& f, PumpedExecutor& disk, std::uint64_t id) {
  BeginCut(f, id);
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

// Its one chunk has nothing in it, and no place in a cut.
TEST_CASE("A shard without blocks takes null pushes alone, also while its part of a checkpoint is written") {
  CrashFiles files(1);
  ShardFixture f(ExactPolicy(-1), 4096 + 600, {.index = 2, .num_shards = 3});
  REQUIRE(f.placement.ShardBlocks(2) == 0);
  PumpedExecutor disk;
  ShardCheckpoints checkpoints({.directory = "dir", .index = 2, .num_shards = 3}, &files, &disk, &f.shard, nullptr);
  f.shard.set_cut_sink(&checkpoints);
  f.Start(1);
  BeginCut(f, 1);
  CHECK(Says(f.PushValue(0, 0)->status, absl::StatusCode::kInvalidArgument, {"shard 2", "no blocks", "null push"}));
  CHECK(f.PushNull(0, 0, v1::APPLIED)->message.verdict() == v1::APPLIED);
  disk.RunAll();
  f.executor.RunAll();
  CHECK(f.shard.Describe().cut().written());
}

TEST_CASE("With a folder of its own a shard's files are brought to shard 0, and nothing of them stays") {
  for (const bool under_way : {true, false}) {
    CrashFiles own(1), kept(2);
    const std::unique_ptr<Executor> executor = MakeThreadPool(1);
    REQUIRE(kept.MakeDirectories("kept/step-00000001").ok());
    CheckpointStore store("kept", &kept, executor.get());
    StoreTransport transport(&store, StoreTransport::NoFaults());
    const CheckpointCalls calls({"ps-0:1", 0}, &transport);
    const CheckpointUpload upload(&own, &calls);
    ShardFixture f(ExactPolicy(-1), kLarge);
    PumpedExecutor disk;
    ShardCheckpoints checkpoints({.directory = "own", .checkpoints = {.upload = &upload}}, &own, &disk, &f.shard,
                                 nullptr);
    f.shard.set_cut_sink(&checkpoints);
    f.Start(1);
    v1::Cut cut;
    cut.set_id(under_way ? 3 : 2);  // the one before is still under way, or is it again
    cut.set_name("step-00000001");
    store.UnderWay(cut, f.placement);
    const v1::CutReport report = Cut(f, disk, 3);
    executor->Stop();
    CHECK(report.written() == under_way);
    CHECK(report.files_size() == (under_way ? 2 : 0));
    CHECK(absl::StrContains(report.error(), "shard 0: ps 0: the checkpoint of cut 3 is not under way") != under_way);
    CHECK(kept.List("kept/step-00000001").value().size() == (under_way ? 2 : 0));
    CHECK(own.List("own").value().empty());
  }
}

}  // namespace
}  // namespace leeway
