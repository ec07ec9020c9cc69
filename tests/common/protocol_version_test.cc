#include "common/protocol_version.h"

#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

TEST_CASE("A version works with its neighbours and with nothing else") {
  for (std::uint32_t own = 1; own <= 5; ++own) {
    for (std::uint32_t other = 0; other <= 8; ++other) {
      CAPTURE(own, other);
      const bool works = other > 0 && (other == own || other + 1 == own || other == own + 1);
      CHECK(CheckProtocolVersions("worker 'w'", other, "this coordinator", own).ok() == works);
      // Whoever of the two is asked: so it does not matter which end is replaced first.
      if (other > 0) CHECK(CheckProtocolVersions("ps 1", own, "this coordinator", other).ok() == works);
    }
  }
  CHECK_FALSE(CheckProtocolVersions("a", 0xffffffff, "b", 1).ok());
  CHECK_FALSE(CheckProtocolVersions("a", 0, "b", 0xffffffff).ok());
}

TEST_CASE("The refusal names both versions, and what would work") {
  CHECK(Says(CheckProtocolVersions("ps 3 at h:1", 9, "this coordinator", 5), absl::StatusCode::kFailedPrecondition,
             {"ps 3 at h:1 speaks protocol version 9", "this coordinator speaks 5", "works with 4 to 6"}));
  CHECK(Says(CheckProtocolVersions("ps 3 at h:1", 9, "this coordinator", 1), absl::StatusCode::kFailedPrecondition,
             {"speaks 1", "works with 1 to 2"}));
}

}  // namespace
}  // namespace leeway
