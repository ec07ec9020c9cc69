// Shard: what a worker is told of its pushes after its lease has run out.
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "server/departed_windows.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Floats = std::vector<float>;
using PushAnswer = std::shared_ptr<Answer<v1::PushReply>>;

// The next snapshot, and nothing of what is posted runs.
absl::Status Tell(ShardFixture& f) {
  f.snapshot.set_sequence(f.snapshot.sequence() + 1);
  f.snapshot.set_membership_epoch(f.snapshot.membership_epoch() + 1);
  return f.shard.ApplySnapshot(f.snapshot);
}

TEST_CASE("Shard: a push is answered after its worker expired if it was applied, and refused if it had not come") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  const v1::PushRequest done = f.PushOf(0, 0), applying = f.PushOf(0, 1), unseen = f.PushOf(0, 2);
  f.Push(done, Filled(kSmall, 1));
  f.executor.RunAll();
  const auto original = f.Push(applying, Filled(kSmall, 10));
  f.Member(0).set_incarnation(0xfeed);
  REQUIRE(Tell(f).ok());
  const auto repeated = f.Push(applying, Filled(kSmall, 10));
  CHECK_FALSE(repeated->done());
  f.executor.RunAll();
  const auto again = f.Push(applying, Filled(kSmall, 10));
  const auto old = f.Push(done, Filled(kSmall, 1));
  for (const PushAnswer& answer : {original, repeated, again, old}) {
    REQUIRE(answer->ok());
    CHECK(answer->message.verdict() == v1::APPLIED);
    CHECK(answer->message.duplicate() == (answer != original));
    CHECK(answer->message.own_clock() == 1);  // its own, not the new incarnation's
  }
  CHECK(Says(f.Push(unseen, Filled(kSmall, 100))->status, Code::kFailedPrecondition, {"incarnation 64"}));
  v1::PushRequest null = unseen;
  null.set_clock(0);
  null.set_null_verdict(v1::REFUSED);
  CHECK(Says(f.Push(null, {})->status, Code::kFailedPrecondition, {"incarnation 64"}));
  v1::PushRequest other_run = done;
  other_run.mutable_stamp()->set_run_id(0xdef);
  CHECK(Says(f.Push(other_run, Filled(kSmall, 1))->status, Code::kFailedPrecondition, {"run def"}));
  f.executor.RunAll();
  CHECK(f.Weights() == Floats(kSmall, -11));
}

TEST_CASE("Shard: a refused chunk stays refused after its worker expired") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  const v1::PushRequest push = f.PushOf(0, 0);
  const auto original = f.Push(push, Filled(kSmall, std::nanf("")));
  f.RemoveMember(0);
  REQUIRE(Tell(f).ok());
  f.executor.RunAll();
  CHECK(Says(original->status, Code::kInvalidArgument, {"non-finite"}));
  const auto again = f.Push(push, Filled(kSmall, std::nanf("")));
  REQUIRE(again->ok());
  CHECK(again->message.verdict() == v1::REFUSED);
}

TEST_CASE("Shard: in rounds the close decides, also for those who expired before it") {
  for (const bool named : {true, false}) {
    CAPTURE(named);
    ShardFixture f(ExactPolicy(0, v1::ROUND));
    f.Start(3);
    const v1::PushRequest held = f.PushOf(0, 0), late = f.PushOf(2, 0);
    f.PushValue(1, 0, 4);
    CHECK(f.PushValue(0, 0, 2)->message.verdict() == v1::HELD);
    const auto in_work = f.Push(late, Filled(kSmall, 100));  // is still looked at when its worker goes
    f.RemoveMember(0);
    f.RemoveMember(2);
    REQUIRE(Tell(f).ok());
    f.executor.RunAll();
    REQUIRE(in_work->ok());
    CHECK(in_work->message.verdict() == v1::HELD);
    CHECK(f.Push(held, Filled(kSmall, 2))->message.verdict() == v1::HELD);
    CHECK(f.Stats().held_bytes() == 3 * 4 * kSmall);
    v1::RoundClose& close = *f.snapshot.add_closes();
    if (named) close.add_ranks(0);
    close.add_ranks(1);
    close.set_samples(named ? 2 : 1);
    REQUIRE(f.Publish().ok());
    const auto decided = f.Push(held, Filled(kSmall, 2));
    REQUIRE(decided->ok());
    CHECK(decided->message.verdict() == (named ? v1::APPLIED : v1::DROPPED));
    CHECK(f.Push(late, Filled(kSmall, 100))->message.verdict() == v1::DROPPED);
    CHECK(f.Weights() == Floats(kSmall, named ? -3 : -4));
  }
}

// Workers push, repeat themselves, expire, come back as others and ask for what they pushed before, while the executor
// is behind. A chunk that came while its incarnation was a member counts once and is always answered APPLIED; one that
// came after does not count and is refused.
TEST_CASE("Shard: whatever expires when, what is answered APPLIED is what was applied") {
  constexpr std::uint32_t kWorkers = 3;
  Random random(TestSeed());
  ShardFixture f(ExactPolicy(-1), kLarge);
  f.Start(kWorkers);
  const Buffer gradients[] = {Filled(f.Elements(0), 1), Filled(f.Elements(1), 1)};
  struct Life {
    v1::Stamp stamp;
    std::set<std::pair<std::uint64_t, std::uint32_t>> accepted;  // step, chunk
    std::uint64_t step = 0;
  };
  std::vector<Life> live(kWorkers);
  std::vector<Life> departed;  // the newest at the back
  for (std::uint32_t id = 0; id < kWorkers; ++id) live[id].stamp = f.StampOf(id);
  std::uint64_t incarnation = 1000;
  std::uint64_t count[2] = {};
  std::vector<PushAnswer> applied, refused;

  for (int round = 0; round < 700; ++round) {
    const auto id = static_cast<std::uint32_t>(random.Below(kWorkers));
    if (random.Chance(0.2)) {
      if (live[id].accepted.empty()) continue;
      departed.push_back(live[id]);
      f.RemoveMember(id);
      if (random.Chance(0.3)) REQUIRE(Tell(f).ok());  // else the next one comes in the same snapshot
      f.Member(id).set_incarnation(++incarnation);
      REQUIRE(Tell(f).ok());
      live[id] = Life();
      live[id].stamp = f.StampOf(id);
    } else if (random.Chance(0.3)) {
      f.executor.RunOne();
    } else {
      const bool alive = departed.empty() || random.Chance(0.6);
      const std::size_t back = alive ? 0 : random.Below(std::min<std::size_t>(departed.size(), 70));
      Life& life = alive ? live[id] : departed[departed.size() - 1 - back];
      const auto chunk = static_cast<std::uint32_t>(random.Below(2));
      const std::uint64_t step = random.Below(life.step + 2);
      v1::PushRequest push = f.PushOf(life.stamp.worker_id(), step, chunk);
      *push.mutable_stamp() = life.stamp;
      const PushAnswer answer = f.Push(push, gradients[chunk]);
      bool known = life.accepted.count({step, chunk}) > 0;
      if (alive && !known) {
        life.accepted.insert({step, chunk});
        life.step = std::max(life.step, std::min<std::uint64_t>(step + 1, 8));
        ++count[chunk];
        known = true;
      }
      known = known && back < DepartedWindows::kKept;
      (known ? applied : refused).push_back(answer);
    }
  }
  f.executor.RunAll();
  for (const PushAnswer& answer : applied) {
    REQUIRE(answer->ok());
    REQUIRE(answer->message.verdict() == v1::APPLIED);
  }
  for (const PushAnswer& answer : refused) REQUIRE(absl::IsFailedPrecondition(answer->status));
  CHECK(departed.size() > DepartedWindows::kKept);
  CHECK(refused.size() > 20);
  for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
    CHECK(f.Weights(chunk) == Floats(f.Elements(chunk), -static_cast<float>(count[chunk])));
  }
}

}  // namespace
}  // namespace leeway
