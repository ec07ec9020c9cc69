// A machine that crashes takes the end of a journal with it that is not synced: how that is noticed.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/shard_checkpoints.h"
#include "tests/catch.h"
#include "tests/server/shard_process.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

TEST_CASE("A worker that has answers to more pushes than came back says that they are lost, and the shard names it") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  {
    Process process(files, ExactPolicy(-1), kSmall, 1);
    ShardFixture& f = process.fixture;
    f.Start(2);
    f.Member(0).set_name("w0");
    REQUIRE(f.Publish().ok());
    f.PushValue(0, 0, 1);
    process.RunAll();
    v1::PullRequest early = f.PullOf(1, 1, 0);  // of a shard that has lost nothing it is a worker's mistake
    early.set_answered(5);
    f.Pull(early);
    process.RunAll();
    CHECK(f.shard.Describe().lost().empty());
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(-1), kSmall, 2, &snapshot);
  ShardFixture& f = process.fixture;
  v1::PullRequest pull = f.PullOf(0, 1, 1);
  pull.set_answered(1);
  f.Pull(pull);
  process.RunAll();
  CHECK(f.shard.Describe().lost().empty());
  pull.set_answered(2);
  f.Pull(pull);
  process.RunAll();
  CHECK(absl::StrContains(f.shard.Describe().lost(), "worker 'w0' has had answers to 2 pushes"));
  CHECK(f.shard.Describe().lost_said_by() == "w0");
}

TEST_CASE("Each answer says how much of the journal is written, and a new process how much it has found of it") {
  for (const auto loss : {CrashFiles::Loss::kProcess, CrashFiles::Loss::kPower}) {
    for (const v1::Aggregation aggregation : {v1::EACH, v1::ROUND}) {
      CAPTURE(loss, aggregation);
      CrashFiles files(3);
      v1::WatchReply snapshot;
      std::uint64_t told = 0;
      {
        Process process(files, ExactPolicy(0, aggregation), kSmall, 1);
        ShardFixture& f = process.fixture;
        f.Start(2);
        process.RunAll();
        CHECK(f.shard.Describe().journal().found() == 0);
        CHECK(f.shard.Describe().journal().written() == 1);
        const auto push = f.PushValue(0, 0);
        CHECK(f.shard.Describe().journal().written() == 1);
        process.RunAll();
        CHECK(push->message.journaled() == 2);
        const auto null = f.PushNull(1, 0, v1::REFUSED);
        process.RunAll();
        told = null->message.journaled();
        CHECK(told == 3);
        CHECK(f.shard.Describe().journal().written() == told);
        CHECK(f.shard.DescribeRound().journaled() == told);
        CHECK(f.shard.DescribeRound().generation() == 1);
        snapshot = f.snapshot;
        files.Restart(loss);
      }
      Process process(files, ExactPolicy(0, aggregation), kSmall, 2);
      process.fixture.snapshot = snapshot;
      const std::uint64_t found = process.fixture.shard.Describe().journal().found();
      // (The power fails before anything is synced: how much of it has reached the disk all the same is the seed's.)
      CHECK((found == told) == (loss == CrashFiles::Loss::kProcess));
      process.fixture.Publish().IgnoreError();
      process.RunAll();
      CHECK(process.fixture.shard.Describe().journal().found() == found);
      CHECK(process.fixture.shard.Describe().journal().written() == found + 1);
    }
  }
}

TEST_CASE("A round that names a push of which the journal has lost a chunk is not carried out, and the run goes back") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  {
    Process process(files, ExactPolicy(0, v1::ROUND), kLarge, 1);
    ShardFixture& f = process.fixture;
    f.Start(2);
    f.PushValue(0, 0, 2);
    f.Push(f.PushOf(1, 0, 0), Filled(f.Elements(0), 4));  // its second chunk is what is lost
    process.RunAll();
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(0, v1::ROUND), kLarge, 2, &snapshot);
  ShardFixture& f = process.fixture;
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.set_round(0);
  close.add_ranks(0);
  close.add_ranks(1);
  close.set_samples(2);
  REQUIRE(f.Publish().ok());
  process.RunAll();
  CHECK(f.Weights(0) == std::vector<float>(f.Elements(0), 0));
  CHECK(f.shard.Describe().closed_round() == 0);
  CHECK(absl::StrContains(f.shard.Describe().lost(), "round 0 is closed with the push of rank 1"));
  CHECK(absl::IsUnavailable(f.Push(f.PushOf(0, 1, 0), Filled(f.Elements(0), 4))->status));
}

TEST_CASE("What a journal has brought back takes no new push before the coordinator has said that it is all") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  {
    Process process(files, ExactPolicy(-1), kSmall, 1);
    ShardFixture& f = process.fixture;
    f.Start(1);
    f.PushValue(0, 0, 1);
    process.RunAll();
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(-1), kSmall, 2);
  ShardFixture& f = process.fixture;
  f.snapshot = snapshot;
  const std::uint64_t found = f.shard.Describe().journal().found();
  const auto again = f.PushValue(0, 0, 1);
  const auto early = f.PushValue(0, 1, 1);
  process.RunAll();
  CHECK(again->message.duplicate());
  CHECK(absl::IsUnavailable(early->status));
  CHECK(f.shard.Describe().journal().written() == found);
  REQUIRE(f.shard.ApplySnapshot(snapshot).ok());
  const auto late = f.PushValue(0, 1, 1);
  process.RunAll();
  CHECK(late->message.verdict() == v1::APPLIED);
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -2));
}

TEST_CASE("A journal that is gone is missed where a checkpoint was taken behind its beginning") {
  CrashFiles files(1);
  {
    Process process(files, ExactPolicy(-1), kSmall, 1);
    ShardFixture& f = process.fixture;
    ShardCheckpoints checkpoints({.directory = Process::kFolder}, &files, &process.disk, &f.shard,
                                 process.storage.journal.get());
    f.shard.set_cut_sink(&checkpoints);
    f.Start(1);
    f.PushValue(0, 0, 1);
    process.RunAll();
    f.snapshot.mutable_cut()->set_id(7);
    f.snapshot.mutable_cut()->set_name("step-00000001");
    REQUIRE(f.Publish().ok());
    f.snapshot.mutable_cut()->set_limited(true);
    REQUIRE(f.Publish().ok());
    process.RunAll();
    REQUIRE(f.shard.Describe().cut().written());
    v1::CheckpointIndex index;
    index.set_format(kCheckpointFormat);
    index.set_step(1);
    index.set_run_id(kRun);
    index.set_num_shards(1);
    *index.mutable_policy() = f.snapshot.policy();
    *index.mutable_manifest() = f.snapshot.manifest();
    index.set_model_fingerprint(f.snapshot.model_fingerprint());
    index.set_block_elements(f.snapshot.block_elements());
    *index.mutable_files() = f.shard.Describe().cut().files();
    REQUIRE(CommitCheckpoint(files, absl::StrCat(Process::kFolder, "/step-00000001"), index).ok());
    files.Restart(CrashFiles::Loss::kProcess);
  }
  { Process process(files, ExactPolicy(-1), kSmall, 2); }
  files.Restart(CrashFiles::Loss::kProcess);
  const std::string journal = JournalDirectory(Process::kFolder, 0);
  for (const auto names = files.List(journal).value(); const std::string& name : names) {
    REQUIRE(files.Remove(absl::StrCat(journal, "/", name)).ok());
  }
  ShardFixture f(ExactPolicy(-1), kSmall, Shard::Options{.generation = 3});
  PumpedExecutor disk;
  const absl::Status gone =
      RecoverShard({.checkpoint_dir = Process::kFolder}, f.options, &files, &f.clock, &disk, &f.shard).status();
  CHECK(Says(gone, absl::StatusCode::kDataLoss, {"shard-00000 has no journal", "step-00000001"}));
}

}  // namespace
}  // namespace leeway
