#include "worker/client/outage.h"

#include "tests/catch.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

// An attempt that fails as soon as it is made.
Outage::Advice Refused(Outage& outage, double seconds, absl::Duration limit) {
  return outage.Failed(At(seconds), At(seconds), limit);
}

TEST_CASE("An outage is worth a line after one second, and every ten after that") {
  Outage outage;
  const absl::Duration limit = absl::Minutes(1);
  CHECK_FALSE(Refused(outage, 100, limit).complain);
  CHECK_FALSE(Refused(outage, 100.9, limit).complain);
  const Outage::Advice first = Refused(outage, 101.5, limit);
  CHECK(first.complain);
  CHECK_FALSE(first.give_up);
  CHECK(first.lasting == absl::Milliseconds(1500));
  CHECK_FALSE(Refused(outage, 111.4, limit).complain);
  CHECK(Refused(outage, 111.6, limit).complain);
}

TEST_CASE("An outage that lasts to the limit is given up; an answer starts anew") {
  Outage outage;
  CHECK_FALSE(Refused(outage, 0, absl::Seconds(5)).give_up);
  CHECK_FALSE(Refused(outage, 4.9, absl::Seconds(5)).give_up);
  CHECK(Refused(outage, 5, absl::Seconds(5)).give_up);
  CHECK(outage.Answered(At(6)));
  CHECK_FALSE(outage.Answered(At(6)));
  CHECK_FALSE(Refused(outage, 100, absl::Seconds(5)).give_up);
  CHECK_FALSE(outage.Answered(At(101)));  // nobody heard of it
}

TEST_CASE("An outage begins with the first attempt that fails, which over a dead link takes its time to do so") {
  Outage outage;
  const absl::Duration limit = absl::Seconds(30);
  const Outage::Advice first = outage.Failed(At(100), At(120), limit);
  CHECK(first.complain);
  CHECK(first.lasting == absl::Seconds(20));
  CHECK(outage.Failed(At(121), At(131), limit).give_up);
}

TEST_CASE("An outage does not reach back behind an answer to another call") {
  Outage outage;
  outage.Answered(At(115));  // to one that was made later than the one that fails
  CHECK(outage.Failed(At(100), At(120), absl::Seconds(30)).lasting == absl::Seconds(5));
}

TEST_CASE("What fails is tried once more before a server is given up: its answer alone may have been lost") {
  Outage outage;
  const absl::Duration limit = absl::Seconds(10);
  CHECK_FALSE(outage.Failed(At(0), At(20), limit).give_up);
  CHECK_FALSE(outage.Failed(At(1), At(21), limit).give_up);  // was under way beside it
  CHECK(outage.Failed(At(20), At(20.5), limit).give_up);
}

TEST_CASE("Without patience a server is given up at once") {
  Outage outage;
  CHECK(outage.Failed(At(0), At(20), absl::ZeroDuration()).give_up);
}

TEST_CASE("While nobody asks a server nothing lasts: what failed long before is no part of an outage") {
  Outage outage;
  CHECK_FALSE(Refused(outage, 0, absl::Minutes(10)).give_up);
  CHECK_FALSE(Refused(outage, 90, absl::Minutes(10)).give_up);  // the longest between two attempts
  // Then the worker has waited for others to join.
  const Outage::Advice advice = Refused(outage, 700, absl::Minutes(10));
  CHECK_FALSE(advice.give_up);
  CHECK_FALSE(advice.complain);
  CHECK(advice.lasting == absl::ZeroDuration());
}

}  // namespace
}  // namespace leeway
