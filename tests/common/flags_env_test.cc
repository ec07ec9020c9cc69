// Apart from flags_test.cc: LEEWAY_TEST_ is reserved, so these flags have other names.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "common/flags.h"
#include "tests/catch.h"

ABSL_FLAG(std::int64_t, env_bound, 7, "a whole number");

namespace leeway {
namespace {

using Words = std::vector<std::string>;

TEST_CASE("a LEEWAY_ variable sets its flag, and the command line wins") {
  absl::FlagSaver saver;
  REQUIRE(SetFlags({}, {"LEEWAY_ENV_BOUND=5"}, nullptr).ok());
  CHECK(absl::GetFlag(FLAGS_env_bound) == 5);
  CHECK(FlagGiven("env_bound"));
  REQUIRE(SetFlags({"--env_bound=6"}, {"LEEWAY_ENV_BOUND=5"}, nullptr).ok());
  CHECK(absl::GetFlag(FLAGS_env_bound) == 6);
}

TEST_CASE("an illegal value is reported under the variable's name") {
  absl::FlagSaver saver;
  CHECK(SetFlags({}, {"LEEWAY_ENV_BOUND=x"}, nullptr).status().message() ==
        "LEEWAY_ENV_BOUND=x: allowed: a whole number");
}

TEST_CASE("LEEWAY_ variables that name no flag are handed back, sorted") {
  absl::FlagSaver saver;
  Words unknown;
  REQUIRE(SetFlags({}, {"LEEWAY_ZZ=1", "LEEWAY_ENV_BUOND=1", "LEEWAY_CUDA=1", "LEEWAY_TEST_SEED=1"}, &unknown).ok());
  CHECK(unknown == Words{"LEEWAY_ENV_BUOND", "LEEWAY_ZZ"});
}

}  // namespace
}  // namespace leeway
