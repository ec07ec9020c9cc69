#include "server/coordinator/shard_claims.h"

#include <optional>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

using Index = std::optional<std::uint32_t>;

TEST_CASE("Each ps without a number gets the first shard that nobody serves, and shard 0 nobody") {
  ShardClaims claims;
  const Instant now = Instant{} + absl::Seconds(100);
  const std::vector<bool> served = {true, false, true, false};
  CHECK(claims.Claim(now, 11, served) == Index(1));
  CHECK(claims.Claim(now, 12, served) == Index(3));
  CHECK(claims.Claim(now, 13, served) == Index());
  // Whoever asks again gets the same, also once a ps has come there.
  CHECK(claims.Claim(now, 12, served) == Index(3));
  CHECK(claims.Claim(now, 11, {true, true, true, true}) == Index(1));
  CHECK(ShardClaims().Claim(now, 1, {false}) == Index());
  CHECK(ShardClaims().Claim(now, 1, {}) == Index());
}

TEST_CASE("What was given away is free again when nobody has come for it, and when its ps is gone") {
  ShardClaims claims;
  const Instant now = Instant{} + absl::Seconds(100);
  const std::vector<bool> served = {true, false};
  CHECK(claims.Claim(now, 11, served) == Index(1));
  const Instant almost = now + ShardClaims::kKept - absl::Nanoseconds(1);
  CHECK(claims.Claim(almost, 12, served) == Index());
  CHECK(claims.Claim(now + ShardClaims::kKept, 12, served) == Index(1));
  // Asking renews it.
  CHECK(claims.Claim(almost, 12, served) == Index(1));
}

}  // namespace
}  // namespace leeway
