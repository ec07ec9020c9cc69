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

TEST_CASE("Whenever shard 0 goes away, what its oldest checkpoint needs of the journal stays") {
  CrashFiles own(1), kept(2);
  v1::WatchReply snapshot;
  for (std::uint64_t life = 0; life < 2; ++life) {
    Process process(own, ExactPolicy(-1), kSmall, 1 + life, life == 0 ? nullptr : &snapshot);
    if (life == 0) process.fixture.Start(1);
    PushAndSave(process, kept, life);
    snapshot = process.fixture.snapshot;
    own.Restart(CrashFiles::Loss::kProcess);
  }
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

}  // namespace
}  // namespace leeway
