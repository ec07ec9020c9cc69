// The gate against a reference that remembers every push and recomputes, for each pull, what it must contain.
#include "server/staleness_gate.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <queue>
#include <set>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

// Workers that pull, compute for an exponential random time and push, whose pushes arrive out of order, and which die
// and are replaced, in virtual time.
class Workers {
 public:
  Workers(std::uint64_t seed, std::int64_t bound, std::uint64_t depth, WorkerId count)
      : random_(seed), bound_(bound), depth_(depth) {
    for (WorkerId id = 0; id < count; ++id) Add();
  }

  // Runs until `steps` pushes have been applied.
  void Run(std::uint64_t steps) {
    while (applied_ < steps) {
      if (events_.empty()) FAIL("every worker waits for another");
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      if (workers_.count(event.worker) == 0) continue;
      Worker& worker = workers_.at(event.worker);
      if (event.arrival) {
        Arrive(event.worker, event.step);
      } else {
        worker.computing = false;
        ++worker.computed;
        events_.push({now_ + random_.Exponential(0.3), next_event_++, event.worker, event.step, true});
      }
      if (random_.Chance(0.0005) && workers_.size() > 1) {
        clocks_.Remove(event.worker);
        workers_.erase(event.worker);
        Add();
      }
      TryPulls();
    }
  }

  std::uint64_t longest_gap() const { return longest_gap_; }
  std::uint64_t refusals() const { return refusals_; }

 private:
  struct Event {
    double time;
    std::uint64_t order;
    WorkerId worker;
    std::uint64_t step;
    bool arrival;  // of a push; else the end of a computation
    bool operator<(const Event& other) const { return std::tie(time, order) > std::tie(other.time, other.order); }
  };
  struct Worker {
    std::uint64_t entry = 0;
    std::uint64_t pulled = 0;    // the next pull is for this step
    std::uint64_t computed = 0;  // steps below it are computed
    bool computing = false;
    std::set<std::uint64_t> arrived;  // every push that has come
    std::uint64_t first_missing = 0;  // the lowest step from `entry` on that is not in `arrived`
  };

  void Add() {
    Worker worker;
    worker.entry = worker.pulled = worker.computed = worker.first_missing = clocks_.Min();
    clocks_.Install(next_worker_, worker.entry, true);
    workers_[next_worker_++] = worker;
    TryPulls();
  }

  void Arrive(WorkerId id, std::uint64_t step) {
    Worker& worker = workers_.at(id);
    worker.arrived.insert(step);
    while (worker.arrived.count(worker.first_missing) > 0) ++worker.first_missing;
    clocks_.Advance(id, worker.first_missing);
    ++applied_;
    std::uint64_t slowest = worker.first_missing;
    std::uint64_t fastest = slowest;
    for (const auto& [other, state] : workers_) {
      slowest = std::min(slowest, state.first_missing);
      fastest = std::max(fastest, state.first_missing);
    }
    longest_gap_ = std::max(longest_gap_, fastest - slowest);
    if (bound_ >= 0 && fastest - slowest > static_cast<std::uint64_t>(bound_) + 1) {
      FAIL("clocks " << slowest << " and " << fastest << " at bound " << bound_);
    }
  }

  void TryPulls() {
    for (auto& [id, worker] : workers_) {
      while (worker.pulled <= worker.computed + depth_ && TryPull(id, worker)) ++worker.pulled;
      if (!worker.computing && worker.computed < worker.pulled) {
        worker.computing = true;
        events_.push({now_ + random_.Exponential(1.0), next_event_++, id, worker.computed, false});
      }
    }
  }

  bool TryPull(WorkerId id, const Worker& worker) {
    const std::uint64_t clock = worker.pulled;
    const std::uint64_t own = std::max(worker.entry, clock < depth_ ? 0 : clock - depth_);
    const GateAnswer answer = AskGate(clocks_, bound_, {id, clock, own});
    if (GateAdmits(clocks_, bound_, {id, clock, own}) != answer.admitted) FAIL("worker " << id << ", clock " << clock);
    // What the reply must contain, push by push.
    std::vector<WorkerId> lacking;
    const std::int64_t newest = static_cast<std::int64_t>(clock) - bound_ - 1;
    for (const auto& [other, state] : workers_) {
      const bool lacks_own = other == id && state.first_missing < own;
      const bool lacks = bound_ >= 0 && newest >= static_cast<std::int64_t>(state.first_missing);
      if (lacks || lacks_own) lacking.push_back(other);
    }
    if (answer.admitted != lacking.empty()) FAIL("worker " << id << ", clock " << clock << ": " << answer.admitted);
    if (!answer.admitted) {
      ++refusals_;
      // Its own missing pushes come first; with them it waits for nobody else.
      const bool own_missing = worker.first_missing < own;
      if (answer.waits_for != (own_missing ? std::vector<WorkerId>{id} : lacking)) FAIL("waits for the wrong workers");
    }
    return answer.admitted;
  }

  Random random_;
  const std::int64_t bound_;
  const std::uint64_t depth_;
  ClockTable clocks_;
  std::map<WorkerId, Worker> workers_;
  WorkerId next_worker_ = 0;
  std::priority_queue<Event> events_;
  double now_ = 0;
  std::uint64_t next_event_ = 0;
  std::uint64_t applied_ = 0;
  std::uint64_t longest_gap_ = 0;
  std::uint64_t refusals_ = 0;
};

TEST_CASE("SSP: every admitted pull contains what it must, and clocks differ by at most s + 1 in 10,000 steps") {
  for (const std::int64_t bound : {0, 1, 3, 8}) {
    for (const std::uint64_t depth : {0, 1, 2}) {
      if (bound == 0 && depth > 0) continue;  // refused at Join
      CAPTURE(bound, depth);
      Workers workers(TestSeed() + depth, bound, depth, 6);
      workers.Run(10000);
      // The room is used, not only respected.
      CHECK(workers.longest_gap() == static_cast<std::uint64_t>(bound) + 1);
      CHECK(workers.refusals() > 0);
    }
  }
}

TEST_CASE("SSP: bound -1 never waits for others") {
  Workers workers(TestSeed(), -1, 0, 6);
  workers.Run(10000);
  CHECK(workers.longest_gap() > 9);
}

TEST_CASE("Gate: numbers at the ends of their range do not wrap around") {
  ClockTable clocks;
  clocks.Install(0, 0, true);
  const std::uint64_t last = ~std::uint64_t{0};
  CHECK(AskGate(clocks, std::int64_t{1} << 62, {0, 5, 0}).admitted);
  CHECK_FALSE(AskGate(clocks, 3, {0, last, 0}).admitted);
  CHECK(AskGate(clocks, -1, {0, last, 0}).admitted);
  CHECK(AskGate(clocks, -1, {0, 1, 1}).waits_for == std::vector<WorkerId>{0});
  CHECK_FALSE(AskGate(clocks, 3, {7, 1, 1}).admitted);  // a stranger has pushed nothing
}

TEST_CASE("Gate: nobody is waited for where no member counts, but own pushes are") {
  ClockTable clocks;
  clocks.Install(0, 9, true);
  clocks.Install(1, 0, true);
  clocks.Install(0, 9, false);
  CHECK_FALSE(AskGate(clocks, 8, {0, 9, 9}).admitted);
  clocks.Install(1, 0, false);
  CHECK(clocks.Min() == 0);
  CHECK(AskGate(clocks, 8, {0, 9, 9}).admitted);
  CHECK(AskGate(clocks, 8, {0, 10, 10}).waits_for == std::vector<WorkerId>{0});
}

TEST_CASE("Gate of rounds: the round before must be closed, nothing else counts") {
  CHECK(AskRoundGate(4, {1, 2}, {0, 4, 4}).admitted);
  CHECK(AskRoundGate(4, {1, 2}, {0, 2, 9}).admitted);
  const GateAnswer answer = AskRoundGate(4, {1, 2}, {0, 5, 0});
  CHECK_FALSE(answer.admitted);
  CHECK(answer.waits_for == std::vector<WorkerId>{1, 2});
}

}  // namespace
}  // namespace leeway
