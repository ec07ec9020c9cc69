#include "server/clock_table.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

struct Entry {
  std::uint64_t clock = 0;
  bool counts = false;
};

TEST_CASE("ClockTable: agrees with a map that is searched anew after every step") {
  Random random(TestSeed());
  ClockTable table;
  std::map<WorkerId, Entry> model;
  std::uint64_t last_min = 0;
  for (int step = 0; step < 20000; ++step) {
    const auto worker = static_cast<WorkerId>(random.Below(8));
    switch (random.Below(8)) {
      case 0: {
        const Entry entry{random.Below(50), random.Chance(0.8)};
        table.Install(worker, entry.clock, entry.counts);
        model[worker] = entry;
        break;
      }
      case 1:
        table.Remove(worker);
        model.erase(worker);
        break;
      default: {
        const std::uint64_t clock = table.Get(worker) + random.Below(4) - std::min<std::uint64_t>(1, table.Get(worker));
        table.Advance(worker, clock);
        if (model.count(worker) > 0) model[worker].clock = std::max(model[worker].clock, clock);
      }
    }
    std::vector<std::uint64_t> counting;
    for (const auto& [id, entry] : model) {
      if (entry.counts) counting.push_back(entry.clock);
    }
    std::uint64_t gap = 0;
    if (!counting.empty()) {
      last_min = *std::min_element(counting.begin(), counting.end());
      gap = *std::max_element(counting.begin(), counting.end()) - last_min;
    }
    REQUIRE(table.Min() == last_min);  // without a counting member the last one stands
    REQUIRE(table.Gap() == gap);
    const std::uint64_t limit = random.Below(60);
    std::vector<WorkerId> below;
    for (WorkerId id = 0; id < 9; ++id) {
      const auto it = model.find(id);
      REQUIRE(table.Get(id) == (it == model.end() ? 0 : it->second.clock));
      if (it != model.end() && it->second.counts && it->second.clock < limit) below.push_back(id);
    }
    REQUIRE(table.Below(limit) == below);
  }
}

TEST_CASE("ClockTable: a clock never falls while its member stays, and strangers are nobody") {
  ClockTable table;
  table.Install(1, 5, true);
  table.Advance(1, 3);
  CHECK(table.Get(1) == 5);
  table.Advance(2, 9);
  CHECK(table.Get(2) == 0);
  CHECK(table.Min() == 5);
  table.Remove(1);
  CHECK(table.Min() == 5);
  CHECK(table.Gap() == 0);
}

}  // namespace
}  // namespace leeway
