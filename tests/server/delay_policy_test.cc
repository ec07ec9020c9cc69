#include "server/delay_policy.h"

#include <limits>

#include "server/check_policy.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

v1::Policy With(const std::string& text) {
  v1::Policy policy;
  policy.set_max_delay(-1);
  policy.set_num_workers(1);
  policy.mutable_schedule()->set_rate(0.1);
  REQUIRE(SetDelayPolicy(text, &policy));
  return policy;
}

TEST_CASE("delay_policy: each is shown as it was given, and the last one counts") {
  for (const char* text : {"apply", "scale", "dc"}) {
    CHECK(DelayPolicyText(With(text)) == text);
    CHECK(CheckPolicy(With(text)).ok());
    v1::Policy policy = With("dc");
    policy.set_dc_lambda(3);
    REQUIRE(SetDelayPolicy(text, &policy));
    CHECK(DelayPolicyText(policy) == text);
    CHECK(policy.dc_lambda() == (DelayPolicyText(policy) == "dc" ? 3 : 0));
    REQUIRE(SetDelayPolicy("apply", &policy));
    CHECK(policy.SerializeAsString() == With("apply").SerializeAsString());
  }
  v1::Policy policy = With("scale");
  for (const char* text : {"", "DC", "dc2", "square"}) {
    CHECK_FALSE(SetDelayPolicy(text, &policy));
    CHECK(policy.SerializeAsString() == With("scale").SerializeAsString());
  }
}

TEST_CASE("delay_policy: dc has MXNet's lambda, and needs no ticket unless there is a max_delay") {
  CHECK(With("dc").dc_lambda() == 0.04);
  CHECK_FALSE(NeedsTicket(With("dc")));
  CHECK(NeedsTicket(With("scale")));
  v1::Policy both = With("dc");
  both.set_max_delay(8);
  CHECK(CheckPolicy(both).ok());
  CHECK(NeedsTicket(both));
}

// What an older version makes of it, which does not know the field.
TEST_CASE("delay_policy: without its lambda, dc is apply") {
  v1::Policy policy = With("dc");
  policy.clear_dc_lambda();
  CHECK(policy.SerializeAsString() == With("apply").SerializeAsString());
}

TEST_CASE("delay_policy: a lambda that is none, beside scale, or in rounds, is refused by name") {
  for (const double lambda :
       {-0.1, 1.1e6, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    v1::Policy policy = With("dc");
    policy.set_dc_lambda(lambda);
    CHECK(Says(CheckPolicy(policy), absl::StatusCode::kInvalidArgument, {"--dc_lambda=", "above 0, at most 1e6"}));
  }
  v1::Policy policy = With("scale");
  policy.set_dc_lambda(0.04);
  CHECK(Says(CheckPolicy(policy), absl::StatusCode::kInvalidArgument, {"--dc_lambda=0.04", "--delay_policy=dc"}));
  policy = With("dc");
  policy.set_aggregation(v1::ROUND);
  CHECK(Says(CheckPolicy(policy), absl::StatusCode::kInvalidArgument,
             {"--aggregation=round", "each with --max_delay or --delay_policy"}));
}

}  // namespace
}  // namespace leeway
