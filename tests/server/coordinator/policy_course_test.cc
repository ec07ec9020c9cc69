// PolicyCourse: when a change of the policy is decided, with which limits, and when it is over.
#include "server/coordinator/policy_course.h"

#include <string>

#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

constexpr Instant kNow{1'000'000'000};

v1::Policy PolicyOf(std::uint64_t number, std::int64_t bound, v1::Aggregation aggregation = v1::EACH) {
  v1::Policy policy;
  policy.set_number(number);
  policy.set_staleness_bound(bound);
  policy.set_aggregation(aggregation);
  return policy;
}

struct Read {
  std::uint32_t worker;
  std::uint64_t clock;
  std::uint64_t offset = 0;
};

v1::WatchRequest Word(std::uint64_t number, const std::string& busy = "") {
  v1::WatchRequest request;
  request.set_policy_number(number);
  request.set_policy_busy(busy);
  return request;
}

v1::WatchRequest Ack(std::uint64_t id, const std::vector<Read>& reads, std::uint64_t number = 1) {
  v1::WatchRequest request = Word(number);
  request.mutable_policy_ack()->set_id(id);
  for (const Read& read : reads) {
    v1::StepLimit& limit = *request.mutable_policy_ack()->add_read();
    limit.set_worker_id(read.worker);
    limit.set_incarnation(100 + read.worker);
    limit.set_clock(read.clock);
    limit.set_offset(read.offset);
  }
  return request;
}

PolicyCourse TwoShards(const v1::Policy& policy) {
  PolicyCourse course(policy, 2);
  course.Report(0, Word(1));
  course.Report(1, Word(1));
  return course;
}

std::uint64_t LimitOf(const PolicyCourse& course, std::uint32_t worker) {
  for (const v1::StepLimit& limit : course.change().limits()) {
    if (limit.worker_id() == worker) return limit.clock();
  }
  return 0;
}

std::uint64_t OffsetOf(const PolicyCourse& course, std::uint32_t worker) {
  for (const v1::StepLimit& limit : course.change().limits()) {
    if (limit.worker_id() == worker) return limit.offset();
  }
  return 0;
}

TEST_CASE("PolicyCourse: decided when every shard has spoken, with limits that none has passed") {
  PolicyCourse course = TwoShards(PolicyOf(1, 8));
  CHECK(course.Busy().empty());
  CHECK(course.InEffect());
  course.Begin(kNow, 77, PolicyOf(1, -1));
  CHECK(course.pending());
  CHECK(course.change().id() == 77);
  CHECK_FALSE(course.Report(0, Ack(76, {{0, 50}})));  // of another change
  CHECK_FALSE(course.Report(0, Ack(77, {{0, 5}, {1, 3}})));
  CHECK_FALSE(course.Report(0, Ack(77, {{0, 6}, {1, 3}})));  // repeated: the first word counts
  CHECK(course.policy().number() == 1);
  CHECK(course.Of(0, 100, 1000).number() == 1);
  CHECK(course.Report(1, Ack(77, {{0, 4}, {1, 9}})));
  CHECK_FALSE(course.pending());
  CHECK(course.policy().number() == 2);
  CHECK(course.policy().staleness_bound() == -1);
  CHECK(LimitOf(course, 0) == 5);
  CHECK(LimitOf(course, 1) == 9);
  CHECK(course.Of(0, 100, 4).number() == 1);
  CHECK(course.Of(0, 100, 5).number() == 2);
  CHECK(course.Of(1, 101, 8).number() == 1);
  CHECK(course.Of(1, 999, 0).number() == 2);  // who has come since
  // A looser bound leaves the clocks where they are.
  CHECK(OffsetOf(course, 0) == 0);
}

TEST_CASE("PolicyCourse: under a tighter bound everybody begins where the farthest is") {
  for (const std::int64_t before : {-1, 8}) {
    PolicyCourse course = TwoShards(PolicyOf(1, before));
    course.Begin(kNow, 77, PolicyOf(1, 2));
    course.Report(0, Ack(77, {{0, 5000}, {1, 10, 7}}));
    course.Report(1, Ack(77, {{0, 5001}, {1, 12, 7}}));
    REQUIRE(course.policy().number() == 2);
    CHECK(OffsetOf(course, 0) == 0);
    CHECK(12 + OffsetOf(course, 1) == 5001);
  }
  // What one change has added, a looser one keeps.
  PolicyCourse course = TwoShards(PolicyOf(1, 2));
  course.Begin(kNow, 77, PolicyOf(1, 4));
  course.Report(0, Ack(77, {{0, 30}, {1, 10, 7}}));
  course.Report(1, Ack(77, {{0, 30}, {1, 10, 7}}));
  CHECK(OffsetOf(course, 0) == 0);
  CHECK(OffsetOf(course, 1) == 7);
}

TEST_CASE("PolicyCourse: in rounds all begin with the same one") {
  PolicyCourse course = TwoShards(PolicyOf(1, 0, v1::ROUND));
  v1::Policy next = PolicyOf(1, 0, v1::ROUND);
  next.mutable_schedule()->set_rate(0.5);
  course.Begin(kNow, 77, next);
  course.Report(0, Ack(77, {{0, 8}, {1, 7}}));
  course.Report(1, Ack(77, {{0, 7}, {1, 7}}));
  CHECK(course.change().first_round() == 8);
  CHECK(course.change().limits().empty());
  CHECK(course.Of(5, 105, 7).number() == 1);
  CHECK(course.Of(5, 105, 8).number() == 2);
}

TEST_CASE("PolicyCourse: over when no shard has a step of before; only then may the next begin") {
  PolicyCourse course = TwoShards(PolicyOf(1, 8));
  course.Begin(kNow, 77, PolicyOf(1, 4));
  course.Report(0, Ack(77, {{0, 5}}));
  course.Report(1, Ack(77, {{0, 5}}));
  CHECK_FALSE(course.InEffect());
  CHECK(Says(absl::UnknownError(course.Busy()), absl::StatusCode::kUnknown, {"ps 0 works by policy 1"}));
  CHECK_FALSE(course.Report(0, Word(2, "worker 'w' has not ended step 4")));
  CHECK_FALSE(course.Report(1, Word(2)));
  CHECK(course.InEffect());  // by all, but for a step of before
  CHECK(course.Busy() == "worker 'w' has not ended step 4");
  CHECK(course.change().id() == 77);
  CHECK(course.Report(0, Word(2)));
  CHECK(course.change().id() == 0);
  CHECK(course.Busy().empty());
  CHECK(course.Of(0, 100, 0).number() == 2);
}

TEST_CASE("PolicyCourse: given up, it is as if it had not been begun") {
  PolicyCourse course = TwoShards(PolicyOf(1, 8));
  course.Begin(kNow, 77, PolicyOf(1, 4));
  v1::WatchRequest cannot = Word(1);
  cannot.mutable_policy_ack()->set_id(77);
  cannot.mutable_policy_ack()->set_error("ps 1 was started again meanwhile");
  CHECK(course.Report(1, cannot));
  CHECK_FALSE(course.pending());
  CHECK(course.failed().id == 77);
  CHECK(course.failed().reason == "ps 1 was started again meanwhile");
  CHECK(course.policy().number() == 1);
  CHECK_FALSE(course.Report(0, Ack(77, {{0, 5}})));  // too late

  course.Begin(kNow, 78, PolicyOf(1, 4));
  course.Report(0, Ack(78, {{0, 5}}));
  CHECK_FALSE(course.Expire(kNow + PolicyCourse::kGiveUpAfter / 2));
  CHECK(course.Expire(kNow + PolicyCourse::kGiveUpAfter));
  CHECK(course.failed().id == 78);
  CHECK(Says(absl::UnknownError(course.failed().reason), absl::StatusCode::kUnknown, {"ps 1", "5s"}));
  // Decided, it does not expire.
  course.Begin(kNow, 79, PolicyOf(1, 4));
  course.Report(0, Ack(79, {{0, 5}}));
  course.Report(1, Ack(79, {{0, 5}}));
  CHECK_FALSE(course.Expire(kNow + absl::Hours(1)));
  CHECK(course.policy().number() == 2);
}

TEST_CASE("PolicyCourse: after a restart what is decided stands, what is pending does not") {
  PolicyCourse course = TwoShards(PolicyOf(1, 8));
  v1::CoordinatorState nothing;
  course.Save(&nothing);
  CHECK_FALSE(nothing.has_changed_policy());
  course.Begin(kNow, 77, PolicyOf(1, 4));
  course.Save(&nothing);
  CHECK_FALSE(nothing.has_changed_policy());
  CHECK_FALSE(nothing.has_policy_change());
  course.Report(0, Ack(77, {{0, 5}}));
  course.Report(1, Ack(77, {{0, 6}}));
  v1::CoordinatorState decided;
  course.Save(&decided);

  PolicyCourse after(PolicyOf(1, 8), 2);
  REQUIRE(after.Restore(decided).ok());
  CHECK(after.policy().number() == 2);
  CHECK(after.policy().staleness_bound() == 4);
  CHECK(after.Of(0, 100, 5).number() == 1);
  CHECK(after.Of(0, 100, 6).number() == 2);
  CHECK_FALSE(after.Busy().empty());  // until the shards have spoken
  after.Report(0, Word(2));
  CHECK(after.Report(1, Word(2)));
  CHECK(after.change().id() == 0);
  // Once more: the policy stays.
  v1::CoordinatorState again;
  after.Save(&again);
  PolicyCourse later(PolicyOf(1, 8), 2);
  REQUIRE(later.Restore(again).ok());
  CHECK(later.policy().number() == 2);
  CHECK(later.change().id() == 0);

  v1::CoordinatorState bad = decided;
  bad.mutable_changed_policy()->set_number(1);
  CHECK(PolicyCourse(PolicyOf(1, 8), 2).Restore(bad).code() == absl::StatusCode::kDataLoss);
  bad = decided;
  bad.mutable_policy_change()->set_decided(false);
  CHECK(PolicyCourse(PolicyOf(1, 8), 2).Restore(bad).code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace leeway
