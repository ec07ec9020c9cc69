#include "server/max_delay.h"

#include <limits>

#include "server/check_policy.h"
#include "tests/catch.h"

namespace leeway {
namespace {

v1::Policy With(const std::string& text) {
  v1::Policy policy;
  policy.set_num_workers(1);
  policy.mutable_schedule()->set_rate(0.1);
  REQUIRE(SetMaxDelay(text, &policy));
  return policy;
}

TEST_CASE("max_delay: a number or sqrt, shown as it was given") {
  for (const char* text : {"-1", "1", "17", "sqrt"}) {
    CHECK(MaxDelayText(With(text)) == text);
    CHECK(CheckPolicy(With(text)).ok());
  }
  v1::Policy policy = With("sqrt");
  REQUIRE(SetMaxDelay("4", &policy));
  CHECK(policy.SerializeAsString() == With("4").SerializeAsString());
  for (const char* text : {"", "1.5", "sqrt2", "SQRT", "99999999999999999999", "four"}) {
    CAPTURE(text);
    CHECK_FALSE(SetMaxDelay(text, &policy));
    CHECK(policy.SerializeAsString() == With("4").SerializeAsString());
  }
  CHECK_FALSE(CheckPolicy(With("0")).ok());
  CHECK_FALSE(CheckPolicy(With("-2")).ok());
}

TEST_CASE("max_delay: sqrt with another number beside it is no policy") {
  for (const std::int64_t number : {-1, 2, 100}) {
    v1::Policy policy = With("sqrt");
    policy.set_max_delay(number);
    const absl::Status status = CheckPolicy(policy);
    CHECK(absl::IsInvalidArgument(status));
    CHECK(std::string(status.message()).find("max_delay") != std::string::npos);
  }
}

TEST_CASE("max_delay: the limit is the number, or the root of what was accepted, rounded down, at least 1") {
  CHECK_FALSE(DelayLimit(With("-1"), 1000).has_value());
  CHECK(DelayLimit(With("7"), 0) == 7);
  CHECK(DelayLimit(With("7"), 1000) == 7);
  const v1::Policy sqrt = With("sqrt");
  CHECK(DelayLimit(sqrt, 0) == 1);
  std::uint64_t root = 1;
  for (std::uint64_t accepted = 1; accepted < 100000; ++accepted) {
    if ((root + 1) * (root + 1) == accepted) ++root;
    REQUIRE(DelayLimit(sqrt, accepted) == root);
  }
  // Where a double rounds.
  for (const std::uint64_t large : {94906267ull, 4294967295ull}) {
    CHECK(DelayLimit(sqrt, large * large) == large);
    CHECK(DelayLimit(sqrt, large * large - 1) == large - 1);
  }
  CHECK(DelayLimit(sqrt, std::numeric_limits<std::uint64_t>::max()) == 4294967295ull);
}

TEST_CASE("max_delay: who does not know sqrt asks for tickets, and allows no delay that sqrt refuses") {
  const v1::Policy sqrt = With("sqrt");
  v1::Policy older = sqrt;
  older.clear_max_delay_sqrt();
  CHECK(NeedsTicket(sqrt));
  CHECK(NeedsTicket(older));
  CHECK(CheckPolicy(older).ok());
  for (std::uint64_t accepted = 0; accepted < 1000; ++accepted) {
    REQUIRE(*DelayLimit(older, accepted) <= *DelayLimit(sqrt, accepted));
  }
}

}  // namespace
}  // namespace leeway
