#include "server/coordinator/quarantine.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

TEST_CASE("Quarantine: agrees with a map, also over restarts") {
  Random random(TestSeed());
  for (const std::uint32_t after : {0u, 1u, 10u}) {
    Quarantine quarantine(after);
    std::map<std::string, std::uint64_t> model;  // of those who are in, the run it was for
    for (int step = 0; step < 500; ++step) {
      const std::string name = absl::StrCat("w", random.Below(20));
      const std::uint64_t run = random.Below(12);
      const bool now = after > 0 && run >= after && model.count(name) == 0;
      REQUIRE(quarantine.Observe(name, run) == now);
      if (now) model[name] = run;
      const std::string reason = quarantine.Reason(name);
      REQUIRE(reason.empty() == (model.count(name) == 0));
      if (!reason.empty()) {
        REQUIRE(reason == absl::StrCat(model[name],
                                       " pushes in a row held a NaN or an infinity (--quarantine_after=", after, ")"));
      }
      if (random.Chance(0.9)) continue;
      v1::QuarantineState state;
      quarantine.Save(&state);
      Quarantine restored(after);
      REQUIRE(restored.Restore(state).ok());
      std::vector<std::string> names;
      for (const auto& [in, why] : model) {
        names.push_back(in);
        REQUIRE(restored.Reason(in) == quarantine.Reason(in));
      }
      REQUIRE(restored.names() == names);
      REQUIRE(restored.empty() == names.empty());
    }
    CHECK((model.size() > 10) == (after > 0));
  }
}

TEST_CASE(
    "Quarantine: who has taken the run back too often is in, also over restarts and whatever --quarantine_after is") {
  Random random(TestSeed());
  Quarantine quarantine(0);
  std::map<std::string, std::uint32_t> model;
  for (int step = 0; step < 60; ++step) {
    const std::string name = absl::StrCat("w", random.Below(20));
    REQUIRE(quarantine.ObserveGoingBack(name) == (++model[name] == Quarantine::kMostGoingsBack));
    v1::QuarantineState state;
    quarantine.Save(&state);
    Quarantine restored(0);
    REQUIRE(restored.Restore(state).ok());
    std::vector<std::string> names;
    for (const auto& [who, times] : model) {
      const bool in = times >= Quarantine::kMostGoingsBack;
      if (in) names.push_back(who);
      REQUIRE(absl::StrContains(restored.Reason(who), absl::StrCat("went back to a checkpoint, ", times, " times")) ==
              in);
    }
    REQUIRE(restored.names() == names);
    REQUIRE(restored.empty() == names.empty());
    if (random.Chance(0.5)) quarantine = restored;
  }
}

TEST_CASE("Quarantine: who is in for its pushes is not put in again for going back") {
  Quarantine quarantine(1);
  REQUIRE(quarantine.Observe("w", 1));
  for (std::uint32_t i = 0; i < 2 * Quarantine::kMostGoingsBack; ++i) CHECK_FALSE(quarantine.ObserveGoingBack("w"));
  CHECK(quarantine.names() == std::vector<std::string>{"w"});
}

TEST_CASE("Quarantine: what nobody can have saved is refused") {
  v1::QuarantineState state;
  (*state.mutable_runs())["w"] = 0;
  CHECK(Says(Quarantine(10).Restore(state), absl::StatusCode::kDataLoss, {"'w'", "0"}));
  // After how many it was, may have changed since.
  (*state.mutable_runs())["w"] = 9;
  CHECK(Quarantine(10).Restore(state).ok());
  Quarantine later(0);
  REQUIRE(later.Restore(state).ok());
  CHECK_FALSE(later.Reason("w").empty());
  (*state.mutable_runs())[""] = 9;
  CHECK(absl::IsDataLoss(Quarantine(9).Restore(state)));
  state.clear_runs();
  (*state.mutable_goings_back())["w"] = 0;
  CHECK(Says(Quarantine(10).Restore(state), absl::StatusCode::kDataLoss, {"'w'", "0 times"}));
}

}  // namespace
}  // namespace leeway
