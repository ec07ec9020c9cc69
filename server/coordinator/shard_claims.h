// ShardClaims: which shard a `ps` becomes that was started without a number: the first that nobody serves. What was
// given away is kept for the time that a `ps` may take to come.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariant: at most one claim per shard, so it is bounded by their number. Shard 0 is never given away: it is the
// coordinator's own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"

namespace leeway {

class ShardClaims {
 public:
  // A `ps` reads its files before it comes; one that took longer finds that another one serves its shard, and ends.
  static constexpr absl::Duration kKept = absl::Minutes(2);

  // `claim`: a random number of the asking process, which gets the same answer whenever it asks. `served`: by shard,
  // whether a `ps` serves it now. Nothing: all have their `ps`, or it is on its way.
  std::optional<std::uint32_t> Claim(Instant now, std::uint64_t claim, const std::vector<bool>& served);

 private:
  struct Given {
    std::uint64_t claim = 0;
    Instant until;
  };
  std::map<std::uint32_t, Given> given_;
};

}  // namespace leeway
