#include "tests/seed.h"

#include <cstdlib>
#include <string>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("the seed stays the same within a process and is the one that was asked for") {
  const uint64_t seed = TestSeed();
  CHECK(TestSeed() == seed);
  if (const char* asked = std::getenv("LEEWAY_TEST_SEED")) CHECK(std::to_string(seed) == asked);
}

}  // namespace
}  // namespace leeway
