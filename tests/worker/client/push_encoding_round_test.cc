// Encoded pushes in rounds, which hold chunks until they close with or without them.
#include <future>
#include <limits>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/worker/client/encoding_cluster.h"

namespace leeway {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST_CASE("Rounds: a held chunk counts with its push, and returns when the push does not count or is left out") {
  Random random(TestSeed());
  Cluster cluster(17000, 5, {v1::TOP_K, 0.05, 0}, GENERATE(By::kHost, By::kDevice));
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.verdict = [&](const v1::PushRequest&) { return random.Chance(0.05) ? v1::DROPPED : v1::HELD; };
    cluster.fake.script.lose = [&](const std::string&) { return random.Chance(0.01); };
  }
  Random own(random.Bits());
  int dropped = 0, counted = 0, partial = 0, left_out = 0, given_up = 0;
  for (int step = 0; step < 400; ++step) {
    std::vector<float> gradient = WholeNumbers(17000, own);
    const bool broken = own.Chance(0.1);
    if (broken) gradient[0] = kNaN;  // of the first block
    auto in_flight = cluster.New(std::move(gradient));
    // Its round may close while the gradient is computed, whose other chunks are then never ready.
    const std::size_t chunks = cluster.ids.size(), until = own.Chance(0.2) ? own.Below(chunks) : chunks;
    for (std::size_t n = 0; n < chunks; ++n) {
      if (n == until) given_up += in_flight->push->GiveUp(in_flight->clock + 10);
      if (n < until || own.Chance(0.3)) cluster.Ready(*in_flight, n);  // the engine does not notice at once
    }
    in_flight->push->NoMoreChunks();
    const PushResult result = in_flight->Wait();
    if (until < chunks) CHECK(result.verdict == v1::DROPPED);
    const bool counts = result.verdict == v1::APPLIED && !result.partial;
    (result.verdict == v1::DROPPED ? dropped : counts ? counted : partial) += 1;
    CHECK(result.held == (result.verdict == v1::APPLIED));
    const bool left = counts && own.Chance(0.2);
    if (left) in_flight->push->LeftOut();
    left_out += left ? 1 : 0;
    MutexLock lock(cluster.fake.mu);
    cluster.fake.CloseRound(in_flight->clock, counts && !left);
  }
  CHECK(cluster.Error() == 0);
  CHECK(dropped > 20);
  CHECK(counted > 100);
  CHECK(partial > 5);
  CHECK(left_out > 10);
  CHECK(given_up > 40);
}

// Its worker's lease runs out, or a shard is lost, while the answer to the last chunk is under way.
TEST_CASE("Rounds: a push that fails returns its held chunks only if its round cannot have it") {
  Cluster cluster(30000, 3, {v1::TOP_K, 0.5, 0}, GENERATE(By::kHost, By::kDevice));
  enum class Last { kHeld, kUnknown, kTooLate };
  const Last last = GENERATE(Last::kHeld, Last::kUnknown, Last::kTooLate);
  bool abandoned = false;
  int answers = 0;
  std::promise<void> all_sent;
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.verdict = [](const v1::PushRequest&) { return v1::HELD; };
    cluster.fake.script.lose = [&](const std::string&) {
      if (++answers == 3) all_sent.set_value();
      if (answers == 2 && last == Last::kTooLate) cluster.fake.expired.insert(cluster.incarnation);
      return answers > 2 && !abandoned;
    };
  }
  if (last == Last::kUnknown) cluster.runtime.caller.SetGiveUpAfter(absl::ZeroDuration());
  auto in_flight = cluster.New(std::vector<float>(30000, 1.0f));
  cluster.AllReady(*in_flight);
  all_sent.get_future().wait();
  if (last != Last::kUnknown) in_flight->push->Abandon();
  {
    MutexLock lock(cluster.fake.mu);
    abandoned = true;
  }
  CHECK_FALSE(in_flight->Wait().status.ok());
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.CloseRound(0, last != Last::kTooLate);
  }
  CHECK(cluster.Error() == 0);
}

}  // namespace
}  // namespace leeway
