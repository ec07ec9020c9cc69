#include "worker/client/outage.h"

#include "tests/catch.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

TEST_CASE("An outage is worth a line after one second, and every ten after that") {
  Outage outage;
  const absl::Duration limit = absl::Minutes(1);
  CHECK_FALSE(outage.Failed(At(100), limit).complain);
  CHECK_FALSE(outage.Failed(At(100.9), limit).complain);
  const Outage::Advice first = outage.Failed(At(101.5), limit);
  CHECK(first.complain);
  CHECK_FALSE(first.give_up);
  CHECK(first.lasting == absl::Milliseconds(1500));
  CHECK_FALSE(outage.Failed(At(111.4), limit).complain);
  CHECK(outage.Failed(At(111.6), limit).complain);
}

TEST_CASE("An outage that lasts to the limit is given up; an answer starts anew") {
  Outage outage;
  CHECK_FALSE(outage.Failed(At(0), absl::Seconds(5)).give_up);
  CHECK_FALSE(outage.Failed(At(4.9), absl::Seconds(5)).give_up);
  CHECK(outage.Failed(At(5), absl::Seconds(5)).give_up);
  CHECK(outage.Answered());
  CHECK_FALSE(outage.Answered());
  CHECK_FALSE(outage.Failed(At(100), absl::Seconds(5)).give_up);
  CHECK_FALSE(outage.Answered());  // nobody heard of it
}

TEST_CASE("While nobody asks a server nothing lasts: what failed long before is no part of an outage") {
  Outage outage;
  CHECK_FALSE(outage.Failed(At(0), absl::Minutes(10)).give_up);
  CHECK_FALSE(outage.Failed(At(90), absl::Minutes(10)).give_up);  // the longest between two attempts
  // Then the worker has waited for others to join.
  const Outage::Advice advice = outage.Failed(At(700), absl::Minutes(10));
  CHECK_FALSE(advice.give_up);
  CHECK_FALSE(advice.complain);
  CHECK(advice.lasting == absl::ZeroDuration());
}

}  // namespace
}  // namespace leeway
