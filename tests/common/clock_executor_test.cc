// The system's clock and the thread pool.
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/executor.h"
#include "common/mutex.h"
#include "tests/catch.h"

namespace leeway {
namespace {

// Waits for a number of events.
class Counter {
 public:
  void Add(int what) {
    MutexLock lock(mu_);
    seen_.push_back(what);
    changed_.NotifyAll();
  }
  std::vector<int> WaitFor(std::size_t count) {
    MutexLock lock(mu_);
    while (seen_.size() < count) changed_.Wait(mu_);
    return seen_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<int> seen_;
};

TEST_CASE("Clock: timers fire in the order of their times, not before them") {
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  Counter counter;
  const Instant start = clock->Now();
  std::atomic<bool> early{false};
  for (const int wait : {40, 10, 30, 20, 0}) {
    clock->RunAt(start + absl::Milliseconds(wait), [&, wait] {
      if (clock->Now() < start + absl::Milliseconds(wait)) early = true;
      counter.Add(wait);
    });
  }
  CHECK(counter.WaitFor(5) == std::vector<int>{0, 10, 20, 30, 40});
  CHECK_FALSE(early);
}

TEST_CASE("Clock: an earlier timer fires on time, though the clock already waits for a later one") {
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  Counter counter;
  clock->RunAt(clock->Now() + absl::Hours(1), [&] { counter.Add(0); });
  for (int i = 1; i <= 20; ++i) {  // after the first the clock surely waits
    clock->RunAt(clock->Now() + absl::Milliseconds(1), [&, i] { counter.Add(i); });
    CHECK(counter.WaitFor(static_cast<std::size_t>(i)).back() == i);
  }
}

TEST_CASE("Clock: a cancelled timer does not fire; Cancel says whether it was in time") {
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  Counter counter;
  const std::uint64_t dropped = clock->RunAt(clock->Now() + absl::Milliseconds(20), [&] { counter.Add(1); });
  CHECK(clock->Cancel(dropped));
  CHECK_FALSE(clock->Cancel(dropped));
  CHECK_FALSE(clock->Cancel(987654));
  const std::uint64_t fired = clock->RunAt(clock->Now() + absl::Milliseconds(40), [&] { counter.Add(2); });
  CHECK(counter.WaitFor(1) == std::vector<int>{2});
  CHECK_FALSE(clock->Cancel(fired));
}

TEST_CASE("Clock: timers may set and cancel timers") {
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  Counter counter;
  clock->RunAt(clock->Now(), [&] {
    const std::uint64_t never = clock->RunAt(clock->Now() + absl::Hours(1), [&] { counter.Add(3); });
    clock->RunAt(clock->Now(), [&, never] { counter.Add(clock->Cancel(never) ? 1 : 2); });
  });
  CHECK(counter.WaitFor(1) == std::vector<int>{1});
}

TEST_CASE("Clock: after Stop nothing fires, and what timers held is let go") {
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  std::atomic<int> fired{0};
  clock->RunAt(clock->Now() + absl::Hours(1), [held, &fired] { fired += *held; });
  held.reset();
  clock->Stop();
  CHECK(watch.expired());
  clock->RunAt(clock->Now(), [&fired] { ++fired; });
  clock->Stop();  // again: no harm
  CHECK(fired == 0);
}

TEST_CASE("Executor: one thread runs all in order; Post never runs in line, so a lock may be held") {
  Counter counter;
  {
    const std::unique_ptr<Executor> executor = MakeThreadPool(1);
    Mutex mu;
    MutexLock lock(mu);
    for (int i = 0; i < 100; ++i) {
      executor->Post([&, i] {
        if (i == 0) MutexLock inner(mu);
        counter.Add(i);
      });
    }
    mu.Unlock();
    const std::vector<int> seen = counter.WaitFor(100);
    for (int i = 0; i < 100; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i);
    mu.Lock();
  }
}

TEST_CASE("Executor: the destructor runs what was posted, also by what it runs") {
  std::atomic<int> ran{0};
  {
    const std::unique_ptr<Executor> executor = MakeThreadPool(3);
    for (int i = 0; i < 200; ++i) {
      executor->Post([&ran, pool = executor.get()] {
        ++ran;
        pool->Post([&ran] { ++ran; });
      });
    }
  }
  CHECK(ran == 400);
}

TEST_CASE("Executor: Stop runs what was posted; what comes later is never run, and goes with the executor") {
  std::atomic<int> ran{0};
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  {
    const std::unique_ptr<Executor> executor = MakeThreadPool(3);
    for (int i = 0; i < 200; ++i) executor->Post([&ran] { ++ran; });
    executor->Stop();
    CHECK(ran == 200);
    executor->Post([&ran, held] { ran += *held; });
    held.reset();
    executor->Stop();  // again: no harm
  }
  CHECK(ran == 200);
  CHECK(watch.expired());
}

TEST_CASE("Executor: two that post to one another are stopped one after the other") {
  const std::unique_ptr<Executor> first = MakeThreadPool(1);
  const std::unique_ptr<Executor> second = MakeThreadPool(1);
  std::atomic<int> ran{0};
  for (int i = 0; i < 200; ++i) {
    second->Post([&ran, &first, &second] {
      ++ran;
      first->Post([&second] { second->Post([] {}); });
    });
  }
  first->Stop();
  second->Stop();
  CHECK(ran == 200);
}

TEST_CASE("Executor: several threads overlap") {
  const std::unique_ptr<Executor> executor = MakeThreadPool(2);
  Counter first;
  Counter second;
  executor->Post([&] {
    first.Add(1);
    second.WaitFor(1);  // hangs unless the other one runs meanwhile
    first.Add(2);
  });
  executor->Post([&] {
    first.WaitFor(1);
    second.Add(1);
  });
  CHECK(first.WaitFor(2).size() == 2);
}

}  // namespace
}  // namespace leeway
