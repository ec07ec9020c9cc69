// A shard with a folder of its own learns from shard 0 what of its journal is needed, and shard 0 may go away
// meanwhile.
#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/executor.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/remote_checkpoints.h"
#include "server/shard_checkpoints.h"
#include "tests/catch.h"
#include "tests/server/shard_process.h"
#include "tests/support/crash_files.h"
#include "tests/support/store_transport.h"

namespace leeway {
namespace {

// A push, a checkpoint in kept/ with it, and another push.
void PushAndSave(Process& process, CrashFiles& kept, std::uint64_t step) {
  ShardFixture& f = process.fixture;
  PumpedExecutor disk;
  ShardCheckpoints checkpoints({.directory = "kept"}, &kept, &disk, &f.shard, nullptr);
  f.shard.set_cut_sink(&checkpoints);
  f.PushValue(0, 2 * step, 1);
  process.RunAll();
  const std::string name = StepDirectoryName(1 + step);
  f.snapshot.mutable_cut()->set_id(1 + step);
  f.snapshot.mutable_cut()->set_name(name);
  REQUIRE(f.Publish().ok());
  f.snapshot.mutable_cut()->set_limited(true);
  REQUIRE(f.Publish().ok());
  disk.RunAll();
  const v1::CutReport report = f.shard.Describe().cut();
  INFO(report.error());
  REQUIRE(report.written());
  v1::CheckpointIndex index;
  index.set_format(kCheckpointFormat);
  index.set_step(1 + step);
  index.set_run_id(kRun);
  index.set_num_shards(1);
  *index.mutable_policy() = f.snapshot.policy();
  *index.mutable_manifest() = f.snapshot.manifest();
  index.set_model_fingerprint(f.snapshot.model_fingerprint());
  index.set_block_elements(f.snapshot.block_elements());
  *index.mutable_files() = report.files();
  REQUIRE(CommitCheckpoint(kept, "kept/" + name, index).ToString() == "OK");
  f.snapshot.clear_cut();
  REQUIRE(f.Publish().ok());
  f.PushValue(0, 2 * step + 1, 1);
  process.RunAll();
  f.shard.set_cut_sink(nullptr);
}

// So many lives, each with a checkpoint.
v1::WatchReply LiveAndSave(CrashFiles& own, CrashFiles& kept, std::uint64_t lives) {
  v1::WatchReply snapshot;
  for (std::uint64_t life = 0; life < lives; ++life) {
    Process process(own, ExactPolicy(-1), kSmall, 1 + life, life == 0 ? nullptr : &snapshot);
    if (life == 0) process.fixture.Start(1);
    PushAndSave(process, kept, life);
    snapshot = process.fixture.snapshot;
    own.Restart(CrashFiles::Loss::kProcess);
  }
  return snapshot;
}

TEST_CASE("Whenever shard 0 goes away, what its oldest checkpoint needs of the journal stays") {
  CrashFiles own(1), kept(2);
  const v1::WatchReply snapshot = LiveAndSave(own, kept, 2);
  Process process(own, ExactPolicy(-1), kSmall, 3, &snapshot);
  const std::unique_ptr<Executor> executor = MakeThreadPool(1);
  CheckpointStore store("kept", &kept, executor.get());
  int good = 0;  // calls, until shard 0 is away
  StoreTransport transport(&store, [&](int, const std::string&) {
    return good-- > 0 ? StoreTransport::Fault::kNone : StoreTransport::Fault::kLostRequest;
  });
  const CheckpointCalls calls({"ps-0:1", 0}, &transport);
  RemoteCheckpoints remote(&calls, [&] { return good >= 0; });
  PumpedExecutor disk;
  ShardCheckpoints checkpoints({.directory = "checkpoints", .checkpoints = {&remote, remote.root()}}, &own, &disk,
                               &process.fixture.shard, process.storage.journal.get());
  const std::string journal = JournalDirectory(Process::kFolder, 0);
  const std::vector<std::string> all = own.List(journal).value();
  const std::string oldest = *std::find_if(all.begin(), all.end(), [](const auto& name) { return name != "lock"; });
  for (int away = 0;; ++away) {
    good = away;
    checkpoints.Committed("step-00000002");
    disk.RunAll();
    CAPTURE(away);
    CHECK(own.Exists(absl::StrCat(journal, "/", oldest)));
    if (good >= 0) break;  // it was there to the end
    REQUIRE(away < 100);
  }
  // And it is removed once nobody needs it.
  REQUIRE(RemoveCheckpoint(kept, "kept/step-00000001").ok());
  good = 100;
  checkpoints.Committed("step-00000002");
  disk.RunAll();
  CHECK_FALSE(own.Exists(absl::StrCat(journal, "/", oldest)));
  executor->Stop();
}

// Its files for that one were there when it died, and others' came later.
TEST_CASE("A checkpoint whose place a newer one takes while a shard reads it is not missed") {
  CrashFiles own(1), kept(2);
  const v1::WatchReply snapshot = LiveAndSave(own, kept, 3);
  std::vector<float> weights;
  {
    Process process(own, ExactPolicy(-1), kSmall, 4, &snapshot);
    weights = process.fixture.Weights();
    REQUIRE(RemoveCheckpoint(kept, "kept/step-00000001").ok());
    PumpedExecutor disk;
    ShardCheckpoints checkpoints({.directory = Process::kFolder, .checkpoints = {&kept, "kept"}}, &own, &disk,
                                 &process.fixture.shard, process.storage.journal.get());
    checkpoints.Committed("step-00000003");  // and with the first one the journal's beginning is gone
    disk.RunAll();
  }
  const std::string marker = "kept/step-00000003/COMMITTED";
  REQUIRE(kept.Rename(marker, marker + ".later").ok());
  for (int when = 0;; ++when) {
    CAPTURE(when);
    const std::unique_ptr<CrashFiles> own_now = own.Clone(), kept_now = kept.Clone();
    const std::unique_ptr<Executor> executor = MakeThreadPool(1);
    CheckpointStore store("kept", kept_now.get(), executor.get());
    StoreTransport transport(&store, [&](int call, const std::string&) {
      if (call == when) {
        REQUIRE(kept_now->Rename(marker + ".later", marker).ok());
        REQUIRE(RemoveCheckpoint(*kept_now, "kept/step-00000002").ok());
      }
      return StoreTransport::Fault::kNone;
    });
    const CheckpointCalls calls({"ps-0:1", 0}, &transport);
    RemoteCheckpoints remote(&calls, [] { return true; });
    ShardFixture fixture(ExactPolicy(-1), kSmall, Shard::Options{.generation = 5});
    PumpedExecutor disk;
    const auto recovered = RecoverShard({.checkpoint_dir = Process::kFolder, .checkpoints = {&remote, remote.root()}},
                                        fixture.options, own_now.get(), &fixture.clock, &disk, &fixture.shard);
    INFO(recovered.status().ToString());
    REQUIRE(recovered.ok());
    fixture.snapshot = snapshot;
    REQUIRE(fixture.Publish().ok());
    CHECK(fixture.Weights() == weights);
    fixture.shard.Shutdown("killed");
    recovered->journal->Stop();
    while (fixture.executor.size() + disk.size() > 0) {
      fixture.executor.RunAll();
      disk.RunAll();
    }
    executor->Stop();
    if (transport.calls() <= when) break;
    REQUIRE(when < 100);
  }
}

}  // namespace
}  // namespace leeway
