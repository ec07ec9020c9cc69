#include "common/strands.h"

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "tests/catch.h"
#include "tests/support/pumped_executor.h"

namespace leeway {
namespace {

TEST_CASE("Functions of one key run in order and never at once; those of different keys do not wait for each other") {
  constexpr int kKeys = 5, kEach = 2000;
  std::vector<std::vector<int>> order(kKeys);
  std::vector<std::atomic<int>> inside(kKeys);
  std::atomic<int> overlaps = 0;
  {
    const std::unique_ptr<Executor> pool = MakeThreadPool(4);
    Strands strands(*pool, kKeys);
    std::vector<std::thread> posters;
    for (int key = 0; key < kKeys; ++key) {
      posters.emplace_back([&, key] {
        for (int i = 0; i < kEach; ++i) {
          strands.Post(key, [&, key, i] {
            if (inside[key].fetch_add(1) != 0) ++overlaps;
            order[key].push_back(i);
            inside[key].fetch_sub(1);
          });
        }
      });
    }
    for (std::thread& poster : posters) poster.join();
  }
  CHECK(overlaps == 0);
  for (const std::vector<int>& ran : order) {
    REQUIRE(ran.size() == kEach);
    for (int i = 0; i < kEach; ++i) REQUIRE(ran[i] == i);
  }
}

TEST_CASE("A strand that is busy holds up its own key only") {
  const std::unique_ptr<Executor> pool = MakeThreadPool(2);
  Strands strands(*pool, 2);
  std::promise<void> go, other;
  strands.Post(0, [&] { go.get_future().wait(); });
  std::atomic<bool> second = false;
  strands.Post(0, [&] { second = true; });
  strands.Post(1, [&] { other.set_value(); });
  other.get_future().wait();
  CHECK_FALSE(second);
  go.set_value();
}

TEST_CASE("What was posted runs after the strands are gone, and never in line") {
  PumpedExecutor executor;
  int ran = 0;
  {
    Strands strands(executor, 1);
    strands.Post(0, [&] { ++ran; });
    strands.Post(0, [&] { ++ran; });
  }
  CHECK(ran == 0);
  executor.RunAll();
  CHECK(ran == 2);
}

}  // namespace
}  // namespace leeway
