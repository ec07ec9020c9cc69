// A shard with a journal is killed at any moment and comes back: every acknowledged push is in the weights once, every
// push whose answer was lost is applied once when it is repeated, and nothing else is.
#include "server/recover_shard.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/shard_checkpoints.h"
#include "tests/catch.h"
#include "tests/server/shard_process.h"
#include "tests/support/crash_files.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

TEST_CASE("A push is acknowledged when its record is written, and its repetition not before") {
  CrashFiles files(1);
  Process process(files, ExactPolicy(-1), kSmall, 1);
  ShardFixture& f = process.fixture;
  f.Start(1);
  process.RunAll();
  const auto first = f.Push(f.PushOf(0, 0), Filled(f.Elements(), 1));
  f.executor.RunAll();
  const auto again = f.Push(f.PushOf(0, 0), Filled(f.Elements(), 1));
  f.executor.RunAll();
  CHECK_FALSE(first->done());
  CHECK_FALSE(again->done());
  process.RunAll();
  CHECK(first->ok());
  REQUIRE(again->ok());
  CHECK(again->message.duplicate());
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -1));
}

TEST_CASE("What a killed shard has acknowledged is there again: weights, clocks, marks, members, version") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  {
    Process process(files, ExactPolicy(-1), kLarge, 1);
    ShardFixture& f = process.fixture;
    f.Start(2);
    f.PushValue(0, 0, 1);
    f.PushValue(1, 0, 10);
    f.PushValue(0, 1, 100);
    f.Push(f.PushOf(1, 1, 0), Filled(f.Elements(0), 1000));  // the second chunk is on its way
    process.RunAll();
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(-1), kLarge, 2, &snapshot);
  ShardFixture& f = process.fixture;
  CHECK(process.storage.replayed == 1 + 7);
  CHECK(f.Weights(0)[5] == -1111);
  CHECK(f.Weights(1)[5] == -111);
  CHECK(f.shard.Describe().known_sequence() == snapshot.sequence());
  CHECK(f.Stats().version() == 3);
  CHECK(f.Stats().samples() == 3);
  CHECK(f.Stats().delay().counts_size() == 0);  // an earlier process had given them their weights
  const auto repeated = f.Push(f.PushOf(1, 1, 0), Filled(f.Elements(0), 1000));
  const auto rest = f.Push(f.PushOf(1, 1, 1), Filled(f.Elements(1), 1000));
  process.RunAll();
  CHECK(repeated->message.duplicate());
  CHECK(rest->message.verdict() == v1::APPLIED);
  CHECK(rest->message.own_clock() == 2);
  CHECK(rest->message.generation() == 2);
  CHECK(f.Weights(0)[5] == -1111);
  CHECK(f.Weights(1)[5] == -1111);
}

TEST_CASE("Refused chunks, null pushes and initial weights come back as well") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  {
    Process process(files, ExactPolicy(0), kSmall, 1);
    ShardFixture& f = process.fixture;
    f.snapshot.set_await_weights(true);
    f.Start(2);
    v1::PutWeightsRequest weights;
    *weights.mutable_stamp() = f.StampOf(0);
    weights.mutable_run()->set_first_block(0);
    weights.mutable_run()->set_num_blocks(f.Run().num_blocks);
    const auto put = f.PutWeights(weights, Filled(f.Elements(), 7));
    process.RunAll();
    CHECK(put->message.complete());
    const auto refused = f.PushValue(0, 0, std::nanf(""));
    process.RunAll();
    CHECK(absl::IsInvalidArgument(refused->status));
    const auto null = f.PushNull(1, 0, v1::DROPPED);
    process.RunAll();
    CHECK(null->ok());
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(0), kSmall, 2, &snapshot);
  ShardFixture& f = process.fixture;
  const auto pull = f.Pull(f.PullOf(0, 1, 1));  // bound 0: both are at clock 1, or it would wait
  process.RunAll();
  REQUIRE(pull->ok());
  CHECK_FALSE(pull->message.has_not_yet());
  CHECK(f.Weights() == std::vector<float>(f.Elements(), 7));
}

TEST_CASE("What a round holds comes back, and the round closes with it") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  {
    Process process(files, ExactPolicy(0, v1::ROUND), kLarge, 1);
    ShardFixture& f = process.fixture;
    f.Start(2);
    f.PushValue(0, 0, 2);
    process.RunAll();
    v1::RoundClose& close = *f.snapshot.add_closes();
    close.set_round(0);
    close.add_ranks(0);
    close.set_samples(1);
    REQUIRE(f.Publish().ok());
    f.PushValue(0, 1, 4);
    f.PushValue(1, 1, 6);
    process.RunAll();
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(0, v1::ROUND), kLarge, 2, &snapshot);
  ShardFixture& f = process.fixture;
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -2));
  CHECK(f.shard.Describe().closed_round() == 1);
  CHECK(f.shard.DescribeRound().complete_size() == 2);
  f.snapshot.clear_closes();
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.set_round(1);
  close.add_ranks(0);
  close.add_ranks(1);
  close.set_samples(2);
  REQUIRE(f.Publish().ok());
  process.RunAll();
  CHECK(f.Weights(1) == std::vector<float>(f.Elements(1), -7));
}

TEST_CASE("While the disk is full pushes are told to come back; later everything is there once") {
  CrashFiles files(1);
  Process process(files, ExactPolicy(-1), kSmall, 1);
  ShardFixture& f = process.fixture;
  f.Start(2);
  process.RunAll();
  files.FailAppends(absl::ResourceExhaustedError("write 00000001.log: No space left on device"));
  const auto before = f.PushValue(0, 0, 1);
  process.RunAll();
  CHECK_FALSE(before->done());
  const auto during = f.PushValue(1, 0, 2);
  process.RunAll();
  REQUIRE(during->calls == 1);
  CHECK(absl::IsUnavailable(during->status));
  CHECK(absl::StrContains(during->status.message(), "No space left"));
  files.FailAppends(absl::OkStatus());
  f.clock.Advance(Journal::kTryAgain);
  process.RunAll();
  CHECK(before->ok());
  const auto after = f.PushValue(1, 0, 2);
  process.RunAll();
  CHECK(after->ok());
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -3));
}

TEST_CASE("A push that was recorded after its worker had left is known to be applied after a restart too") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  v1::PushRequest push;
  {
    Process process(files, ExactPolicy(-1), kSmall, 1);
    ShardFixture& f = process.fixture;
    f.Start(2);
    process.RunAll();
    push = f.PushOf(0, 0);
    f.Push(push, Filled(f.Elements(), 1));  // begun, but not carried out
    f.RemoveMember(0);
    f.snapshot.set_sequence(f.snapshot.sequence() + 1);
    f.snapshot.set_membership_epoch(f.snapshot.membership_epoch() + 1);
    REQUIRE(f.shard.ApplySnapshot(f.snapshot).ok());
    process.RunAll();
    REQUIRE(f.Push(push, Filled(f.Elements(), 1))->message.verdict() == v1::APPLIED);
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(-1), kSmall, 2, &snapshot);
  ShardFixture& f = process.fixture;
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -1));
  const auto again = f.Push(push, Filled(f.Elements(), 1));
  REQUIRE(again->ok());
  CHECK(again->message.verdict() == v1::APPLIED);
  CHECK(again->message.duplicate());
}

// A restart finds the record before its worker's departure, and so the push in the round: the worker is told the same.
TEST_CASE("A push to a round that was recorded when its worker left is in the round, before a restart and after it") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  v1::PushRequest push;
  const auto in_round = [](ShardFixture& f) {
    const v1::ReportRoundRequest report = f.shard.DescribeRound();
    return report.complete_size() == 1 && report.complete(0).rank() == 0;
  };
  {
    Process process(files, ExactPolicy(0, v1::ROUND), kSmall, 1);
    ShardFixture& f = process.fixture;
    f.Start(2);
    process.RunAll();
    push = f.PushOf(0, 0);
    const auto answer = f.Push(push, Filled(f.Elements(), 4));
    f.executor.RunAll();  // its record is queued
    f.RemoveMember(0);
    f.snapshot.set_sequence(f.snapshot.sequence() + 1);
    f.snapshot.set_membership_epoch(f.snapshot.membership_epoch() + 1);
    REQUIRE(f.shard.ApplySnapshot(f.snapshot).ok());
    process.RunAll();
    REQUIRE(answer->ok());
    CHECK(answer->message.verdict() == v1::HELD);
    CHECK(in_round(f));
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, ExactPolicy(0, v1::ROUND), kSmall, 2, &snapshot);
  ShardFixture& f = process.fixture;
  CHECK(in_round(f));
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.add_ranks(0);
  close.set_samples(1);
  REQUIRE(f.Publish().ok());
  process.RunAll();
  const auto again = f.Push(push, Filled(f.Elements(), 4));
  REQUIRE(again->ok());
  CHECK(again->message.verdict() == v1::APPLIED);
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -4));
}

TEST_CASE("A second process of a shard, and another shard's journal, are refused") {
  CrashFiles files(1);
  Process process(files, ExactPolicy(-1), kSmall, 1);
  ShardFixture other(ExactPolicy(-1), kSmall, Shard::Options{.generation = 2});
  PumpedExecutor disk;
  CHECK(absl::IsUnavailable(
      RecoverShard({.checkpoint_dir = Process::kFolder}, other.options, &files, &other.clock, &disk, &other.shard)
          .status()));
  files.Restart(CrashFiles::Loss::kProcess);
  ShardFixture of_two(ExactPolicy(-1), kSmall, Shard::Options{.num_shards = 2});
  const absl::Status refused =
      RecoverShard({.checkpoint_dir = Process::kFolder}, of_two.options, &files, &of_two.clock, &disk, &of_two.shard)
          .status();
  CHECK(absl::IsDataLoss(refused));
  CHECK(absl::StrContains(refused.message(), "is of 1 ps, and this cluster has 2"));
}

// Beside the coordinator's state, which is of the moment when the limits were known, a checkpoint has the shards', of
// the moment of their cuts: they may have heard of later decisions than a coordinator knows that has nothing else.
TEST_CASE("A shard that goes back to a checkpoint has heard of no decision yet") {
  CrashFiles files(1);
  v1::CheckpointIndex index;
  index.set_format(kCheckpointFormat);
  index.set_step(1);
  index.set_run_id(kRun);
  index.set_num_shards(1);
  {
    ShardFixture f(ExactPolicy(-1), kSmall, Shard::Options{.generation = 1});
    PumpedExecutor disk;
    ShardCheckpoints checkpoints({.directory = Process::kFolder}, &files, &disk, &f.shard, nullptr);
    f.shard.set_cut_sink(&checkpoints);
    f.Start(2);
    f.PushValue(0, 0, 1);
    f.snapshot.mutable_cut()->set_id(7);
    f.snapshot.mutable_cut()->set_name("step-00000001");
    REQUIRE(f.Publish().ok());
    f.snapshot.mutable_cut()->set_limited(true);
    REQUIRE(f.Publish().ok());
    disk.RunAll();
    const v1::WatchRequest described = f.shard.Describe();
    REQUIRE(described.cut().written());
    CHECK(described.known_sequence() == 3);
    *index.mutable_policy() = f.snapshot.policy();
    *index.mutable_manifest() = f.snapshot.manifest();
    index.set_model_fingerprint(f.snapshot.model_fingerprint());
    index.set_block_elements(f.snapshot.block_elements());
    *index.mutable_files() = described.cut().files();
    REQUIRE(CommitCheckpoint(files, absl::StrCat(Process::kFolder, "/step-00000001"), index).ToString() == "OK");
    f.executor.RunAll();
  }
  ShardFixture f(ExactPolicy(-1), kSmall, Shard::Options{.generation = 2});
  PumpedExecutor disk;
  const RecoverOptions back{.checkpoint_dir = Process::kFolder, .go_back = Era{1, "step-00000001"}};
  const absl::StatusOr<ShardFiles> recovered = RecoverShard(back, f.options, &files, &f.clock, &disk, &f.shard);
  INFO(recovered.status().ToString());
  REQUIRE(recovered.ok());
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -1));
  CHECK(f.shard.Describe().known_sequence() == 0);
  // So what the coordinator decides now is news, whatever its number.
  f.snapshot.set_era(1);
  f.Start(1);
  CHECK(f.shard.Describe().known_sequence() == 1);
  const auto push = f.PushValue(0, 0, 4);
  disk.RunAll();
  f.executor.RunAll();
  CHECK(push->ok());
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -5));
  (*recovered).journal->Stop();
  disk.RunAll();
}

// Workers push integers, repeat what has no answer, come and go; the shard is killed, or loses power, at any operation
// on its files. The weights are the sum of what was applied: all of what was acknowledged, once.
TEST_CASE("Exactly once, whatever the shard is killed at") {
  const std::uint64_t seed = GENERATE(range(0, 30));
  for (const bool power : {false, true}) {
    CAPTURE(seed, power);
    Random random(5000 + seed);
    CrashFiles files(seed);
    constexpr std::uint32_t kWorkers = 3;
    const std::uint64_t elements = seed % 20 == 0 ? kLarge : kSmall;      // two chunks, or one
    using Key = std::tuple<std::uint32_t, std::uint64_t, std::uint32_t>;  // worker, step, chunk
    std::map<std::uint32_t, std::uint64_t> next;                          // step of each worker
    std::set<Key> unanswered;
    std::map<Key, float> values;
    double expected[2] = {0, 0};  // by chunk
    v1::WatchReply snapshot;
    for (std::uint64_t life = 1; life <= 8; ++life) {
      auto process =
          std::make_unique<Process>(files, ExactPolicy(-1), elements, life, life == 1 ? nullptr : &snapshot, power);
      const std::uint32_t chunks = process->fixture.placement.ShardChunks(0);
      ShardFixture& f = process->fixture;
      if (life == 1) f.Start(kWorkers);
      REQUIRE(f.Publish().ok());  // what it may have lost of the last one
      process->RunAll();
      if (life < 8) files.CrashAt(files.operations() + random.Between(1, 60));
      std::map<Key, std::shared_ptr<Answer<v1::PushReply>>> answers;
      const auto send = [&](const Key& key) {
        const auto& [worker, step, chunk] = key;
        answers[key] = f.Push(f.PushOf(worker, step, chunk), Filled(f.Elements(chunk), values.at(key)));
      };
      for (const Key& key : unanswered) send(key);
      for (int i = 0; i < 40 && !files.crashed(); ++i) {
        const auto worker = static_cast<std::uint32_t>(random.Below(kWorkers));
        const bool waits = std::any_of(unanswered.begin(), unanswered.end(),
                                       [worker](const Key& key) { return std::get<0>(key) == worker; });
        if (!waits) {
          for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) {
            const Key key{worker, next[worker], chunk};
            values[key] = static_cast<float>(random.Between(1, 9));
            unanswered.insert(key);
            send(key);
          }
          ++next[worker];
        } else if (random.Chance(0.3)) {
          send(*unanswered.begin());  // a repetition
        }
        while (random.Chance(0.7) && (f.executor.RunOne() || process->disk.RunOne())) {
        }
        if (random.Chance(0.5)) process->disk.RunOne();
        for (auto it = unanswered.begin(); it != unanswered.end();) {
          const auto answer = answers.find(*it);
          if (answer == answers.end() || !answer->second->done() || !answer->second->ok()) {
            ++it;
            continue;
          }
          CHECK(answer->second->message.verdict() == v1::APPLIED);
          expected[std::get<2>(*it)] -= values.at(*it);
          it = unanswered.erase(it);
        }
      }
      if (life == 8) {
        process->RunAll();
        for (const Key& key : unanswered) {
          CHECK(answers.at(key)->ok());
          expected[std::get<2>(key)] -= values.at(key);
        }
        for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) {
          const std::vector<float> weights = f.Weights(chunk);
          CHECK(weights.front() == expected[chunk]);
          CHECK(weights == std::vector<float>(weights.size(), weights.front()));
        }
      }
      snapshot = f.snapshot;
      process.reset();
      files.Restart(power ? CrashFiles::Loss::kPower : CrashFiles::Loss::kProcess);
    }
  }
}

}  // namespace
}  // namespace leeway
