#include "server/byte_budget.h"

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

TEST_CASE("Each worker has its share, whatever the others hold") {
  ByteBudget budget;
  budget.SetLimit(80 * kMiB, 4);
  CHECK(budget.share() == 20 * kMiB);
  std::vector<ByteBudget::Charge> charges;
  while (ByteBudget::Charge charge = budget.Take(0, 4 * kMiB)) charges.push_back(std::move(charge));
  CHECK(charges.size() == 5);
  CHECK(budget.held(0) == 20 * kMiB);
  for (std::uint32_t worker = 1; worker < 4; ++worker) {
    for (int i = 0; i < 5; ++i) charges.push_back(budget.Take(worker, 4 * kMiB));
  }
  CHECK(std::count(charges.begin(), charges.end(), nullptr) == 0);
  CHECK(budget.total() == 80 * kMiB);
  charges.pop_back();
  CHECK(budget.held(3) == 16 * kMiB);
  CHECK(budget.Take(0, 4 * kMiB) == nullptr);  // what another gives back is the other's
  charges.clear();
  CHECK(budget.total() == 0);
}

TEST_CASE("Two chunks, and one of any size, are let in however small the share is") {
  ByteBudget budget;
  budget.SetLimit(1, 1000);
  const ByteBudget::Charge first = budget.Take(7, 4 * kMiB);
  const ByteBudget::Charge second = budget.Take(7, 4 * kMiB);
  CHECK(first != nullptr);
  CHECK(second != nullptr);
  CHECK(budget.Take(7, 1) == nullptr);
  CHECK(budget.Take(8, 100 * kMiB) != nullptr);
  CHECK(budget.TakeAnyway(7, 4 * kMiB) != nullptr);
}

TEST_CASE("When workers come, the total stays within the limit until there is room for their share") {
  ByteBudget budget;
  budget.SetLimit(100 * kMiB, 1);
  const ByteBudget::Charge before = budget.Take(0, 100 * kMiB);
  budget.SetLimit(100 * kMiB, 2);
  ByteBudget::Charge charge = budget.Take(1, 8 * kMiB);  // the least
  CHECK(charge != nullptr);
  CHECK(budget.Take(1, 4 * kMiB) == nullptr);
  CHECK(budget.Take(0, 4 * kMiB) == nullptr);
}

TEST_CASE("The delay grows with each refusal in a row, to a limit, and begins anew") {
  ByteBudget budget;
  budget.SetLimit(8 * kMiB, 1);
  ByteBudget::Charge all = budget.Take(0, 8 * kMiB);
  for (int i = 1; i <= 100; ++i) {
    CHECK(budget.Take(0, kMiB) == nullptr);
    CHECK(budget.Delay(0) == std::min(i * ByteBudget::kDelay, ByteBudget::kMostDelay));
  }
  CHECK(budget.Delay(1) == ByteBudget::kDelay);
  all.reset();
  all = budget.Take(0, 8 * kMiB);
  CHECK(budget.Take(0, kMiB) == nullptr);
  CHECK(budget.Delay(0) == ByteBudget::kDelay);
}

TEST_CASE("A charge may outlive its budget") {
  ByteBudget::Charge charge;
  {
    ByteBudget budget;
    charge = budget.TakeAnyway(0, 5);
  }
  charge.reset();
}

TEST_CASE("Whatever comes and goes, the header's promises hold") {
  std::mt19937_64 random(TestSeed());
  ByteBudget budget;
  std::uint64_t limit = 100 * kMiB, workers = 4;
  budget.SetLimit(limit, workers);
  struct Held {
    std::uint32_t worker;
    std::uint64_t bytes;
    ByteBudget::Charge charge;
  };
  std::vector<Held> held;
  std::map<std::uint32_t, std::uint64_t> of_worker;
  std::map<std::uint32_t, std::uint64_t> refusals;
  std::uint64_t total = 0;
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t what = random() % 100;
    if (what == 0) {
      workers = 1 + random() % 16;
      limit = (1 + random() % 200) * kMiB;
      budget.SetLimit(limit, workers);
    } else if (what < 50 && !held.empty()) {
      const std::size_t which = random() % held.size();
      std::swap(held[which], held.back());
      of_worker[held.back().worker] -= held.back().bytes;
      total -= held.back().bytes;
      held.pop_back();
    } else {
      const auto worker = static_cast<std::uint32_t>(random() % 16);
      const std::uint64_t bytes = 1 + random() % (8 * kMiB);
      const std::uint64_t had = of_worker[worker];
      const bool allowed =
          had == 0 || had + bytes <= ByteBudget::kLeast || (had + bytes <= limit / workers && total + bytes <= limit);
      const bool anyway = random() % 20 == 0;
      ByteBudget::Charge charge = anyway ? budget.TakeAnyway(worker, bytes) : budget.Take(worker, bytes);
      REQUIRE((charge != nullptr) == (allowed || anyway));
      if (charge == nullptr) {
        ++refusals[worker];
        REQUIRE(budget.Delay(worker) ==
                std::min(static_cast<std::int64_t>(refusals[worker]) * ByteBudget::kDelay, ByteBudget::kMostDelay));
        continue;
      }
      refusals[worker] = 0;
      of_worker[worker] += bytes;
      total += bytes;
      held.push_back({worker, bytes, std::move(charge)});
    }
    for (auto& [worker, bytes] : of_worker) {
      REQUIRE(budget.held(worker) == bytes);
      if (bytes == 0) refusals[worker] = 0;
    }
    REQUIRE(budget.total() == total);
  }
  held.clear();
  CHECK(budget.total() == 0);
}

}  // namespace
}  // namespace leeway
