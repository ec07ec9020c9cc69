#include "server/nonfinite_runs.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

// The longest run of `true`, or the one at the end.
std::uint64_t RunOf(const std::vector<bool>& pushes, bool at_the_end) {
  std::uint64_t longest = 0;
  std::uint64_t run = 0;
  for (const bool nonfinite : pushes) {
    run = nonfinite ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return at_the_end ? run : longest;
}

TEST_CASE("NonFiniteRuns: agrees with the history of every worker, also when it is saved and restored") {
  Random random(TestSeed());
  NonFiniteRuns runs;
  std::map<WorkerId, std::vector<bool>> history;
  std::uint64_t longest = 0;
  for (int step = 0; step < 5000; ++step) {
    const auto worker = static_cast<WorkerId>(random.Below(5));
    const bool nonfinite = random.Chance(0.2 * worker);
    runs.Add(worker, nonfinite);
    history[worker].push_back(nonfinite);
    if (random.Chance(0.9)) continue;
    NonFiniteRuns::Saved saved;
    runs.Save(&saved);
    std::size_t expected = 0;
    for (const auto& [id, pushes] : history) expected += std::count(pushes.begin(), pushes.end(), true) > 0 ? 1 : 0;
    REQUIRE(static_cast<std::size_t>(saved.size()) == expected);
    for (const v1::NonFiniteRun& run : saved) {
      REQUIRE(run.longest() == RunOf(history.at(run.worker_id()), false));
      REQUIRE(run.current() == RunOf(history.at(run.worker_id()), true));
      longest = std::max<std::uint64_t>(longest, run.longest());
    }
    if (random.Chance(0.5)) runs = NonFiniteRuns(saved);
  }
  CHECK(longest > 5);
}

}  // namespace
}  // namespace leeway
