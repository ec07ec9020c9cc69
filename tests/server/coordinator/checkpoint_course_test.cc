// CheckpointCourse: when, and the course of one checkpoint over the shards.
#include "server/coordinator/checkpoint_course.h"

#include <algorithm>
#include <map>
#include <vector>

#include <limits>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

v1::CutReport Seen(std::uint64_t id, const std::map<std::uint32_t, std::uint64_t>& clocks) {
  v1::CutReport report;
  report.set_id(id);
  for (const auto& [worker, clock] : clocks) {
    v1::MemberClock& seen = *report.add_seen();
    seen.set_worker_id(worker);
    seen.set_incarnation(100 + worker);
    seen.set_clock(clock);
  }
  return report;
}

v1::CutReport Written(std::uint64_t id) {
  v1::CutReport report;
  report.set_id(id);
  report.set_written(true);
  return report;
}

TEST_CASE("CheckpointCourse: by steps, by time, or never") {
  CheckpointCourse::Config config;
  CheckpointCourse never(config);
  never.Start(At(0), 0);
  CHECK_FALSE(never.Due(At(1e9), 1u << 30));
  config.every_steps = 100;
  config.every = absl::Seconds(60);
  CheckpointCourse course(config);
  course.Start(At(10), 50);
  CHECK_FALSE(course.Due(At(69), 149));
  CHECK(course.Due(At(11), 150));
  CHECK(course.Due(At(70), 50));
  course.Begin(At(70), 1, "a");
  CHECK_FALSE(course.Due(At(1000), 1000));
  course.End(At(80), 60, true);
  CHECK_FALSE(course.Due(At(139), 159));
  CHECK(course.Due(At(140), 60));
  course.Begin(At(140), 2, "b");
  course.End(At(150), 200, false);
  CHECK_FALSE(course.Due(At(159), 1000));  // it has failed: not at once again
  CHECK(course.Due(At(160), 1000));
  course.SetTimes(std::numeric_limits<std::uint64_t>::max(), absl::Hours(1000));
  CHECK_FALSE(course.Due(At(170), 1000));
}

TEST_CASE("CheckpointCourse: limits when all have said what they have seen, the highest of each worker") {
  for (const bool rounds : {false, true}) {
    CheckpointCourse course({.num_shards = 2, .one_limit = rounds});
    course.Begin(At(0), 9, "step-9");
    CHECK_FALSE(course.cut().limited());
    CHECK_FALSE(course.Report(0, Seen(9, {{0, 5}, {1, 2}})));
    CHECK_FALSE(course.Report(1, Seen(8, {{0, 50}})));  // of another
    CHECK(course.Report(1, Seen(9, {{0, 4}, {1, 3}})));
    REQUIRE(course.cut().limited());
    REQUIRE(course.cut().limits_size() == 2);
    CHECK(course.cut().limits(0).clock() == 5);
    CHECK(course.cut().limits(0).incarnation() == 100);
    CHECK(course.cut().limits(1).clock() == (rounds ? 5 : 3));
    CHECK_FALSE(course.written());
    CHECK_FALSE(course.Report(0, Written(9)));
    CHECK_FALSE(course.Report(0, Seen(9, {})));  // an older message of it
    CHECK(course.Report(1, Written(9)));
    CHECK(course.written());
    CHECK(course.reports().size() == 2);
    course.End(At(1), 9, true);
    CHECK_FALSE(course.under_way());
    CHECK_FALSE(course.written());
  }
}

TEST_CASE("CheckpointCourse: a step that is left open belongs to the cut if any shard has something of it") {
  CheckpointCourse course({.num_shards = 3});
  course.Begin(At(0), 1, "a");
  // Step 5 is whole on shard 0 and has not come to shard 1; of step 6 shard 1 has a part; step 9 shard 0 has given up.
  // Shard 2 has not heard of the return to clock 20, and has something of step 7.
  v1::CutReport first = Seen(1, {{0, 21}});
  first.mutable_seen(0)->set_entry(20);
  first.mutable_seen(0)->add_begun(5);
  for (const std::uint64_t step : {6, 7, 8}) first.mutable_seen(0)->add_not_begun(step);
  v1::CutReport second = Seen(1, {{0, 20}});
  second.mutable_seen(0)->set_entry(20);
  second.mutable_seen(0)->add_begun(6);
  for (const std::uint64_t step : {5, 7, 8, 9}) second.mutable_seen(0)->add_not_begun(step);
  v1::CutReport third = Seen(1, {{0, 8}});
  course.Report(0, first);
  course.Report(1, second);
  course.Report(2, third);
  REQUIRE(course.cut().limited());
  const v1::MemberClock& limit = course.cut().limits(0);
  CHECK(limit.clock() == 21);
  using Steps = std::vector<std::uint64_t>;
  CHECK(Steps(limit.begun().begin(), limit.begun().end()) == Steps{5, 6, 7});
  CHECK(Steps(limit.not_begun().begin(), limit.not_begun().end()) == Steps{8, 9});
}

TEST_CASE("CheckpointCourse: no limit is above the round from which on none is closed") {
  CheckpointCourse course({.num_shards = 2, .one_limit = true});
  course.Begin(At(0), 9, "step-9", 5);
  v1::CutReport held = Seen(9, {{0, 6}});
  held.set_round(6);
  CHECK_FALSE(course.Report(0, held));
  CHECK(course.Report(1, Seen(9, {})));
  CHECK(course.cut().round() == 5);
  REQUIRE(course.cut().limits_size() == 1);
  CHECK(course.cut().limits(0).clock() == 5);
  course.Drop();
  course.Begin(At(1), 10, "step-10");
  held.set_id(10);
  course.Report(0, held);
  course.Report(1, Seen(10, {}));
  CHECK(course.cut().round() == 6);
}

TEST_CASE("CheckpointCourse: one shard's error, or its silence, ends it") {
  CheckpointCourse course({.num_shards = 2, .give_up_after = absl::Seconds(30)});
  course.Begin(At(0), 1, "a");
  v1::CutReport broken = Seen(1, {});
  broken.set_error("disk full");
  CHECK(course.Report(1, broken));
  CHECK(course.failure() == "disk full");
  CHECK_FALSE(course.Report(0, Written(1)));
  CHECK_FALSE(course.Report(1, Written(1)));
  CHECK_FALSE(course.written());
  course.End(At(1), 0, false);
  course.Begin(At(20), 2, "b");
  CHECK(course.failure().empty());
  CHECK_FALSE(course.Expire(At(49)));
  CHECK(course.Expire(At(50)));
  CHECK_FALSE(course.failure().empty());
}

TEST_CASE("CheckpointCourse: no limit is below what a shard has seen, whatever the order of reports") {
  for (std::uint64_t run = 0; run < 200; ++run) {
    Random random(TestSeed() + run);
    const auto shards = static_cast<std::uint32_t>(random.Between(1, 5));
    CheckpointCourse course({.num_shards = shards, .one_limit = random.Chance(0.5)});
    course.Begin(At(0), 1, "a");
    std::map<std::uint32_t, std::uint64_t> highest;
    std::vector<std::map<std::uint32_t, std::uint64_t>> seen(shards);
    for (auto& of_shard : seen) {
      for (std::uint32_t worker = 0; worker < 4; ++worker) {
        if (random.Chance(0.2)) continue;  // it has not heard of it
        of_shard[worker] = random.Below(20);
        highest[worker] = std::max(highest[worker], of_shard[worker]);
      }
    }
    for (int i = 0; i < 100 && !course.cut().limited(); ++i) {
      const auto shard = static_cast<std::uint32_t>(random.Below(shards));
      course.Report(shard, Seen(1, seen[shard]));
    }
    REQUIRE(course.cut().limited());
    CHECK(course.cut().limits_size() == static_cast<int>(highest.size()));
    for (const v1::MemberClock& limit : course.cut().limits()) CHECK(limit.clock() >= highest.at(limit.worker_id()));
  }
}

}  // namespace
}  // namespace leeway
