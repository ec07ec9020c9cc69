// A checkpoint's cut on one shard: exactly the pushes below the limits are in it, and pushes go on while it is written.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

// Keeps what it is given.
class MemorySink final : public CutSink {
 public:
  std::shared_ptr<StoreCut> Begin(std::uint64_t id, const std::string& name, const v1::ShardState& shard_state,
                                  std::shared_ptr<BlockStore> from) override {
    last_id = id;
    last_name = name;
    state = shard_state;
    store = std::move(from);
    const std::uint32_t chunks = store->placement().ShardChunks(0);
    weights.assign(chunks, {});
    cut = std::make_shared<StoreCut>(chunks, [this](std::uint32_t chunk) {
      const ChunkRun run = store->placement().Chunk(0, chunk);
      const float* from_store = store->Weights(run);
      weights[chunk].assign(from_store, from_store + store->placement().RunElements(run));
    });
    return cut;
  }
  void Committed(const std::string& name) override { committed = name; }

  // As the writer on its way through the store.
  void WriteRest(Shard& shard) {
    for (std::uint32_t chunk = 0; chunk < weights.size(); ++chunk) {
      MutexLock lock(store->ChunkMutex(chunk));
      cut->BeforeUpdate(chunk);
    }
    v1::CutReport report;
    report.set_id(last_id);
    report.set_written(true);
    shard.CutWritten(report);
  }

  std::uint64_t last_id = 0;
  std::string last_name, committed;
  v1::ShardState state;
  std::shared_ptr<BlockStore> store;
  std::shared_ptr<StoreCut> cut;
  std::vector<std::vector<float>> weights;  // [chunk]
};

void Ask(ShardFixture& f, std::uint64_t id) {
  f.snapshot.mutable_cut()->Clear();
  f.snapshot.mutable_cut()->set_id(id);
  f.snapshot.mutable_cut()->set_name("step-1");
  REQUIRE(f.Publish().ok());
}

void Limit(ShardFixture& f, const std::map<std::uint32_t, std::uint64_t>& limits) {
  f.snapshot.mutable_cut()->set_limited(true);
  for (const auto& [worker, clock] : limits) {
    v1::MemberClock& limit = *f.snapshot.mutable_cut()->add_limits();
    limit.set_worker_id(worker);
    limit.set_incarnation(f.StampOf(worker).incarnation());
    limit.set_clock(clock);
  }
  REQUIRE(f.Publish().ok());
}

TEST_CASE("A cut holds new steps, waits for those below the limits, and lets pushes go on while it is written") {
  ShardFixture f(ExactPolicy(-1), kLarge);
  MemorySink sink;
  f.shard.set_cut_sink(&sink);
  f.Start(2);
  f.PushValue(0, 0, 1);
  f.Push(f.PushOf(1, 0, 0), Filled(f.Elements(0), 10));  // its second chunk is still with its worker
  f.executor.RunAll();
  Ask(f, 7);
  const v1::CutReport seen = f.shard.Describe().cut();
  CHECK(seen.id() == 7);
  REQUIRE(seen.seen_size() == 2);
  CHECK(seen.seen(0).clock() == 1);
  CHECK(seen.seen(1).clock() == 1);
  const auto held = f.PushValue(0, 1, 100);
  CHECK_FALSE(held->done());
  // Another shard has seen step 1 of worker 0.
  Limit(f, {{0, 2}, {1, 1}});
  CHECK(held->ok());
  CHECK(sink.store == nullptr);
  const auto beyond = f.PushValue(0, 2, 1000);
  CHECK_FALSE(beyond->done());
  f.Push(f.PushOf(1, 0, 1), Filled(f.Elements(1), 10));
  f.executor.RunAll();
  REQUIRE(sink.store != nullptr);
  CHECK(beyond->ok());  // before anything of the checkpoint is written
  CHECK(f.Weights(0)[0] == -1111);
  CHECK_FALSE(f.shard.Describe().cut().written());
  sink.WriteRest(f.shard);
  CHECK(f.shard.Describe().cut().written());
  CHECK(f.shard.Describe().cut().version() == 3);
  CHECK(sink.weights[0] == std::vector<float>(f.Elements(0), -111));
  CHECK(sink.weights[1] == std::vector<float>(f.Elements(1), -111));
  CHECK(sink.state.version() == 3);
  f.snapshot.clear_cut();
  f.snapshot.set_committed_checkpoint("step-1");
  REQUIRE(f.Publish().ok());
  CHECK(sink.committed == "step-1");
  CHECK_FALSE(f.shard.Describe().has_cut());
}

TEST_CASE("A draining shard takes no new steps, completes those that have begun, and what a cut needs") {
  ShardFixture f(ExactPolicy(-1), kLarge);
  MemorySink sink;
  f.shard.set_cut_sink(&sink);
  f.Start(2);
  f.Push(f.PushOf(1, 0, 0), Filled(f.Elements(0), 10));
  f.executor.RunAll();
  CHECK(f.shard.last_cut() == 0);
  f.shard.Drain();
  CHECK(absl::IsUnavailable(f.PushValue(0, 0, 1)->status));
  CHECK(absl::IsUnavailable(f.PushNull(0, 0, v1::REFUSED)->status));
  // Another shard has step 0 of worker 0, so the cut waits for it here too.
  Ask(f, 7);
  CHECK_FALSE(f.PushValue(0, 0, 1)->done());
  Limit(f, {{0, 1}, {1, 1}});
  CHECK(f.shard.last_cut() == 0);
  const auto rest = f.Push(f.PushOf(1, 0, 1), Filled(f.Elements(1), 10));
  f.executor.RunAll();
  CHECK(rest->ok());
  CHECK(f.shard.Quiet());
  CHECK(f.shard.last_cut() == 7);
  CHECK(sink.state.version() == 2);
  CHECK(absl::IsUnavailable(f.PushValue(0, 1, 1)->status));
  CHECK(f.Weights(0)[0] == -11);
}

TEST_CASE("A cut in rounds falls between two rounds") {
  ShardFixture f(ExactPolicy(0, v1::ROUND));
  MemorySink sink;
  f.shard.set_cut_sink(&sink);
  f.Start(2);
  f.PushValue(0, 0, 2);
  Ask(f, 1);
  CHECK(f.shard.Describe().cut().seen(0).clock() == 1);
  CHECK(f.shard.Describe().cut().seen(1).clock() == 0);
  Limit(f, {{0, 1}, {1, 1}});
  f.PushValue(1, 0, 4);
  CHECK(sink.store == nullptr);
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.set_round(0);
  close.add_ranks(0);
  close.add_ranks(1);
  close.set_samples(2);
  REQUIRE(f.Publish().ok());
  REQUIRE(sink.store != nullptr);
  CHECK(sink.state.open_round() == 1);
  sink.WriteRest(f.shard);
  CHECK(sink.weights[0] == std::vector<float>(f.Elements(), -3));
}

TEST_CASE("A cut in rounds waits for the round of a push that is under way when its worker leaves") {
  ShardFixture f(ExactPolicy(0, v1::ROUND));
  MemorySink sink;
  f.shard.set_cut_sink(&sink);
  f.Start(2);
  const auto push = f.Push(f.PushOf(0, 0), Filled(f.Elements(), 3));
  f.RemoveMember(0);
  f.snapshot.mutable_cut()->set_id(7);
  f.snapshot.mutable_cut()->set_name("step-1");
  f.snapshot.set_sequence(f.snapshot.sequence() + 1);
  f.snapshot.set_membership_epoch(f.snapshot.membership_epoch() + 1);
  REQUIRE(f.shard.ApplySnapshot(f.snapshot).ok());
  CHECK(f.shard.Describe().cut().round() == 1);
  f.executor.RunAll();
  CHECK(push->message.verdict() == v1::HELD);
}

TEST_CASE("A cut waits for steps that a return from parking has left open, if anything has come of them anywhere") {
  ShardFixture f(ExactPolicy(-1), kLarge);
  MemorySink sink;
  f.shard.set_cut_sink(&sink);
  f.Start(1);
  f.PushValue(0, 0, 1);
  f.Push(f.PushOf(0, 1, 0), Filled(f.Elements(0), 10));  // its second chunk is still with its worker
  f.executor.RunAll();
  f.Member(0, v1::PARKED);
  REQUIRE(f.Publish().ok());
  const bool heard_first = GENERATE(true, false);
  CAPTURE(heard_first);
  f.Member(0, v1::LIVE, 20);
  if (heard_first) {
    REQUIRE(f.Publish().ok());
    Ask(f, 7);
    const v1::CutReport seen = f.shard.Describe().cut();
    REQUIRE(seen.seen_size() == 1);
    CHECK(seen.seen(0).clock() == 20);
    CHECK(std::vector<std::uint64_t>(seen.seen(0).begun().begin(), seen.seen(0).begun().end()) ==
          std::vector<std::uint64_t>{0, 1});
    REQUIRE(seen.seen(0).not_begun_size() == 15);
    CHECK(seen.seen(0).not_begun(0) == 2);
    CHECK(seen.seen(0).not_begun(14) == 16);
  } else {
    f.Member(0, v1::PARKED);
    Ask(f, 7);
    CHECK(f.shard.Describe().cut().seen(0).clock() == 2);
    CHECK(f.shard.Describe().cut().seen(0).not_begun().empty());
    f.Member(0, v1::LIVE, 20);
  }
  // Of step 2 something has come to another shard, of step 3 nothing to any.
  const auto beyond = f.Push(f.PushOf(0, 3, 0), Filled(f.Elements(0), 1000));
  f.executor.RunAll();
  CHECK_FALSE(beyond->done());
  f.snapshot.mutable_cut()->set_limited(true);
  v1::MemberClock& limit = *f.snapshot.mutable_cut()->add_limits();
  limit.set_worker_id(0);
  limit.set_incarnation(100);
  limit.set_clock(heard_first ? 20 : 3);
  for (const std::uint64_t step : {1, 2}) limit.add_begun(step);
  for (std::uint64_t step = 3; step < 17; ++step) limit.add_not_begun(step);
  REQUIRE(f.Publish().ok());
  CHECK(sink.store == nullptr);
  CHECK_FALSE(beyond->done());
  f.PushValue(0, 2, 100);
  CHECK(sink.store == nullptr);
  f.Push(f.PushOf(0, 1, 1), Filled(f.Elements(1), 10));
  f.executor.RunAll();
  REQUIRE(sink.store != nullptr);
  CHECK(beyond->ok());
  sink.WriteRest(f.shard);
  CHECK(sink.weights[0] == std::vector<float>(f.Elements(0), -111));
  CHECK(sink.weights[1] == std::vector<float>(f.Elements(1), -111));
}

TEST_CASE("A cut before a round that nobody closes any more leaves out what is held for it") {
  ShardFixture f(ExactPolicy(0, v1::ROUND));
  MemorySink sink;
  f.shard.set_cut_sink(&sink);
  f.Start(1);
  f.PushValue(0, 0, 3);
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.set_round(0);
  close.add_ranks(0);
  close.set_samples(1);
  REQUIRE(f.Publish().ok());
  f.snapshot.set_state(v1::FINISHING);
  REQUIRE(f.Publish().ok());
  CHECK(f.PushValue(0, 1, 100)->message.verdict() == v1::HELD);
  CHECK(f.shard.DescribeRound().complete_size() == 0);
  f.RemoveMember(0);
  REQUIRE(f.Publish().ok());
  Ask(f, 1);
  CHECK(f.shard.Describe().cut().round() == 2);
  f.snapshot.mutable_cut()->set_round(1);
  Limit(f, {});
  REQUIRE(sink.store != nullptr);
  CHECK(sink.state.open_round() == 1);
  sink.WriteRest(f.shard);
  CHECK(f.shard.Describe().cut().written());
  CHECK(sink.weights[0] == std::vector<float>(f.Elements(), -3));
}

TEST_CASE("A cut does not wait for who is gone, and one that is given up lets everybody go on") {
  ShardFixture f(ExactPolicy(-1), kLarge);
  MemorySink sink;
  f.shard.set_cut_sink(&sink);
  f.Start(2);
  f.Push(f.PushOf(1, 0, 0), Filled(f.Elements(0), 10));
  f.executor.RunAll();
  Ask(f, 1);
  Limit(f, {{0, 0}, {1, 1}});
  const auto held = f.PushValue(0, 0, 1);
  CHECK_FALSE(held->done());
  CHECK(sink.store == nullptr);
  f.RemoveMember(1);
  REQUIRE(f.Publish().ok());
  CHECK(sink.store != nullptr);
  CHECK(held->ok());

  Ask(f, 2);
  const auto again = f.PushValue(0, 1, 1);
  CHECK_FALSE(again->done());
  f.snapshot.clear_cut();
  REQUIRE(f.Publish().ok());
  CHECK(again->ok());
}

TEST_CASE("A shard that cannot make a cut says why") {
  ShardFixture without(ExactPolicy(-1));
  without.Start(1);
  Ask(without, 1);
  CHECK(absl::StrContains(without.shard.Describe().cut().error(), "--checkpoint_dir"));
  ShardFixture late(ExactPolicy(-1));
  MemorySink sink;
  late.shard.set_cut_sink(&sink);
  late.Member(0);
  late.snapshot.mutable_cut()->set_id(3);
  Limit(late, {{0, 0}});
  CHECK(absl::StrContains(late.shard.Describe().cut().error(), "in the middle"));
}

// What a shard is restored from a cut goes on as the one that was cut.
TEST_CASE("A shard that is restored from a cut is the shard that was cut") {
  for (std::uint64_t run = 0; run < 20; ++run) {
    Random random(TestSeed() + run);
    ShardFixture f(ExactPolicy(-1));
    MemorySink sink;
    f.shard.set_cut_sink(&sink);
    f.Start(3);
    std::map<std::uint32_t, std::uint64_t> next;
    const auto push = [&](ShardFixture& to) {
      const auto worker = static_cast<std::uint32_t>(random.Below(3));
      if (random.Chance(0.1)) return to.PushNull(worker, next[worker]++, v1::REFUSED);
      return to.PushValue(worker, next[worker]++, static_cast<float>(random.Between(1, 9)));
    };
    for (int i = 0; i < 30; ++i) REQUIRE(push(f)->ok());
    Ask(f, 1);
    std::map<std::uint32_t, std::uint64_t> limits;
    for (std::uint32_t worker = 0; worker < 3; ++worker) limits[worker] = next[worker];
    const std::map<std::uint32_t, std::uint64_t> at_cut = limits;
    Limit(f, limits);
    sink.WriteRest(f.shard);

    ShardFixture restored(ExactPolicy(-1));
    REQUIRE(restored.shard.RestoreState(sink.state, f.snapshot.manifest()).ok());
    const auto store = restored.shard.store();
    std::copy(sink.weights[0].begin(), sink.weights[0].end(), store->Weights(restored.Run()));
    restored.snapshot = f.snapshot;
    restored.snapshot.clear_cut();
    REQUIRE(restored.Publish().ok());
    CHECK(restored.Weights() == f.Weights());
    CHECK(restored.Stats().version() == f.Stats().version());
    CHECK(restored.Stats().pushes_refused() == f.Stats().pushes_refused());
    // A repetition of what it had is one there as well.
    const auto repeated = restored.PushValue(0, at_cut.at(0) - 1, 5);
    CHECK(repeated->message.duplicate());
    const std::uint64_t seed = random.Bits();
    std::vector<float> after[2];
    int which = 0;
    for (ShardFixture* to : {&f, &restored}) {
      next = at_cut;
      random = Random(seed);
      for (int i = 0; i < 10; ++i) REQUIRE(push(*to)->ok());
      after[which++] = to->Weights();
    }
    CHECK(after[0] == after[1]);
  }
}

}  // namespace
}  // namespace leeway
