#include "worker/trainer/step_pipeline.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

TEST_CASE("Depth 0: pull, compute, push, wait for the verdict, pull") {
  StepPipeline pipeline(0, 7);
  const auto first = pipeline.NextPull();
  REQUIRE(first);
  CHECK(first->clock == 7);
  CHECK(first->own_clock == 7);
  CHECK_FALSE(pipeline.NextPull());
  CHECK_FALSE(pipeline.CanCompute());
  pipeline.PullArrived(first->id);
  REQUIRE(pipeline.CanCompute());
  pipeline.BeginCompute();
  CHECK_FALSE(pipeline.NextPull());
  pipeline.EndCompute();
  CHECK(pipeline.settled() == 7);
  CHECK_FALSE(pipeline.NextPull());
  pipeline.PushEnded(7, v1::APPLIED, 0);
  CHECK(pipeline.settled() == 8);
  const auto second = pipeline.NextPull();
  REQUIRE(second);
  CHECK(second->clock == 8);
  CHECK(second->own_clock == 8);
}

TEST_CASE("Depth 1: the next pull leaves when a step begins, and need not contain its push") {
  StepPipeline pipeline(1, 0);
  const auto first = pipeline.NextPull();
  CHECK_FALSE(pipeline.NextPull());
  pipeline.PullArrived(first->id);
  pipeline.BeginCompute();
  const auto second = pipeline.NextPull();
  REQUIRE(second);
  CHECK(second->clock == 1);
  CHECK(second->own_clock == 0);
  CHECK(second->weights_slot != first->weights_slot);
  pipeline.EndCompute();
  pipeline.PullArrived(second->id);
  CHECK(pipeline.CanCompute());  // while the push of step 0 has no verdict
  CHECK(pipeline.BeginCompute().clock == 1);
  const auto third = pipeline.NextPull();
  REQUIRE(third);
  CHECK(third->own_clock == 1);
  pipeline.EndCompute();
  pipeline.PullArrived(third->id);
  CHECK_FALSE(pipeline.CanCompute());  // both gradient buffers wait for verdicts
  pipeline.PushEnded(0, v1::APPLIED, 0);
  CHECK(pipeline.CanCompute());
}

// A shard that has no blocks holds no pull back for the push that it has not seen.
TEST_CASE("Depth 1: no step runs ahead of a verdict that is late, though later ones have come") {
  StepPipeline pipeline(1, 0);
  for (std::uint64_t step = 0; step < 2; ++step) {
    pipeline.PullArrived(pipeline.NextPull()->id);
    pipeline.BeginCompute();
    pipeline.EndCompute();
  }
  pipeline.PullArrived(pipeline.NextPull()->id);
  pipeline.PushEnded(1, v1::APPLIED, 0);
  CHECK(pipeline.GradientFree());
  CHECK_FALSE(pipeline.CanCompute());
  pipeline.PushEnded(0, v1::APPLIED, 0);
  CHECK(pipeline.CanCompute());
}

TEST_CASE("A refusal drops what was prefetched; the same step pulls afresh") {
  StepPipeline pipeline(1, 0);
  const auto first = pipeline.NextPull();
  pipeline.PullArrived(first->id);
  pipeline.BeginCompute();
  const auto second = pipeline.NextPull();
  pipeline.EndCompute();
  pipeline.PullArrived(second->id);
  pipeline.PushEnded(0, v1::REFUSED, 0);
  CHECK_FALSE(pipeline.CanCompute());
  CHECK(pipeline.TakeDropped() == std::vector<std::uint64_t>{second->id});
  const auto again = pipeline.NextPull();
  REQUIRE(again);
  CHECK(again->clock == 1);
  CHECK(again->id != second->id);
  pipeline.PullArrived(second->id);  // late: not wanted
  CHECK_FALSE(pipeline.CanCompute());
}

TEST_CASE("A dropped push goes on at the open round, parking at the entry clock") {
  StepPipeline pipeline(0, 3);
  pipeline.PullArrived(pipeline.NextPull()->id);
  pipeline.BeginCompute();
  pipeline.EndCompute();
  pipeline.PushEnded(3, v1::DROPPED, 9);
  CHECK(pipeline.clock() == 9);
  const auto next = pipeline.NextPull();
  REQUIRE(next);
  CHECK(next->own_clock == 9);
  pipeline.PullArrived(next->id);
  pipeline.Reenter(5);  // behind its own clock: it stays, but with fresh weights
  CHECK(pipeline.clock() == 9);
  CHECK_FALSE(pipeline.CanCompute());
  pipeline.Reenter(20);
  CHECK(pipeline.NextPull()->clock == 20);
}

TEST_CASE("After a re-entry no weights are asked for before the pushes from before it are in") {
  StepPipeline pipeline(1, 0);
  pipeline.PullArrived(pipeline.NextPull()->id);
  pipeline.BeginCompute();
  pipeline.EndCompute();
  pipeline.PullArrived(pipeline.NextPull()->id);
  pipeline.BeginCompute();
  REQUIRE(pipeline.NextPull());
  pipeline.Reenter(9);
  pipeline.EndCompute();
  CHECK(pipeline.clock() == 9);
  // A pull now would name 9 of its own pushes, and those of the steps 0 and 1 may be on their way still.
  CHECK_FALSE(pipeline.NextPull());
  pipeline.PushEnded(1, v1::APPLIED, 0);
  CHECK_FALSE(pipeline.NextPull());
  pipeline.PushEnded(0, v1::APPLIED, 0);
  const auto fresh = pipeline.NextPull();
  REQUIRE(fresh);
  CHECK(fresh->own_clock == 9);
}

// Random events against the invariants in the header.
TEST_CASE("Whatever happens in whatever order, buffers are never shared and clocks are as promised") {
  std::mt19937_64 random(TestSeed());
  for (int run = 0; run < 40; ++run) {
    const int depth = static_cast<int>(random() % 4);
    const std::uint64_t entry = random() % 5;
    StepPipeline pipeline(depth, entry);
    std::map<std::uint64_t, StepPipeline::PullOrder> asked;  // wanted, not arrived
    std::map<std::uint64_t, StepPipeline::PullOrder> ready;  // arrived, not computed
    std::set<std::uint64_t> pushes;
    std::map<std::uint64_t, int> gradient_of;
    bool computing = false;
    StepPipeline::Compute current;
    std::uint64_t base = entry;
    std::uint64_t reentry = 0;
    std::uint64_t computed = 0;
    const auto forget_dropped = [&] {
      for (const std::uint64_t id : pipeline.TakeDropped()) REQUIRE(asked.erase(id) + ready.erase(id) == 1);
    };
    for (int event = 0; event < 2000; ++event) {
      forget_dropped();
      switch (random() % 5 + (random() % 50 == 0 ? 5 : 0)) {
        case 0:
          while (const auto order = pipeline.NextPull()) {
            for (const auto& group : {asked, ready}) {
              for (const auto& [id, other] : group) {
                REQUIRE(other.weights_slot != order->weights_slot);
                REQUIRE(other.clock < order->clock);
              }
            }
            if (computing) REQUIRE(order->weights_slot != current.weights_slot);
            REQUIRE(order->weights_slot <= depth);
            REQUIRE(order->clock >= pipeline.clock());
            REQUIRE(order->clock <= pipeline.clock() + static_cast<std::uint64_t>(depth));
            const std::uint64_t lag = static_cast<std::uint64_t>(depth);
            REQUIRE(order->own_clock == std::max(base, order->clock < lag ? 0 : order->clock - lag));
            if (depth == 0) REQUIRE(pushes.empty());
            if (!pushes.empty()) REQUIRE(*pushes.begin() >= reentry);
            asked[order->id] = *order;
          }
          break;
        case 1:
          if (!asked.empty()) {
            auto it = asked.begin();
            std::advance(it, random() % asked.size());
            pipeline.PullArrived(it->first);
            ready.insert(*it);
            asked.erase(it);
          }
          break;
        case 2:
          if (pipeline.CanCompute()) {
            REQUIRE_FALSE(computing);
            current = pipeline.BeginCompute();
            REQUIRE(ready.count(current.pull_id) == 1);
            REQUIRE(ready[current.pull_id].clock == current.clock);
            REQUIRE(ready[current.pull_id].weights_slot == current.weights_slot);
            ready.erase(current.pull_id);
            if (!pushes.empty()) REQUIRE(*pushes.begin() + static_cast<std::uint64_t>(depth) >= current.clock);
            for (const auto& [clock, slot] : gradient_of) REQUIRE(slot != current.gradient_slot);
            gradient_of[current.clock] = current.gradient_slot;
            pushes.insert(current.clock);
            computing = true;
            ++computed;
          }
          break;
        case 3:
          if (computing) {
            pipeline.EndCompute();
            computing = false;
            REQUIRE(pipeline.clock() >= current.clock + 1);
            if (pipeline.clock() > current.clock + 1) base = pipeline.clock();
          }
          break;
        case 4:
          if (!pushes.empty()) {
            auto it = pushes.begin();
            std::advance(it, random() % pushes.size());
            const std::uint64_t clock = *it;
            if (computing && clock == current.clock) break;  // its push has not left
            const int kind = static_cast<int>(random() % 10);
            const v1::Verdict verdict = kind == 0 ? v1::DROPPED : kind == 1 ? v1::REFUSED : v1::APPLIED;
            const std::uint64_t before = pipeline.clock();
            pipeline.PushEnded(clock, verdict, clock + 1 + random() % 6);
            if (!computing && pipeline.clock() > before) base = pipeline.clock();
            pushes.erase(clock);
            gradient_of.erase(clock);
            REQUIRE(pipeline.pushes() == pushes.size());
            REQUIRE(pipeline.settled() == (pushes.empty() ? pipeline.clock() : *pushes.begin()));
          }
          break;
        default: {
          const std::uint64_t before = pipeline.clock();
          const std::uint64_t to = before + random() % 4;
          reentry = std::max(reentry, to);
          pipeline.Reenter(to);
          if (!computing && pipeline.clock() > before) base = pipeline.clock();
        }
      }
      REQUIRE(pushes.size() <= static_cast<std::size_t>(depth) + 1);
    }
    REQUIRE(computed > 50);  // it never gets stuck
  }
}

}  // namespace
}  // namespace leeway
