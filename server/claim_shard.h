// ClaimShard: a `ps` that nobody has given a number asks the coordinator which shard it is to be.
//
// Thread safety: any thread; it blocks, and so is not for those that answer calls.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/transport.h"

namespace leeway {

struct ShardClaim {
  std::string coordinator;  // host:port
  std::uint32_t num_shards = 0;
  absl::Duration limit = absl::Minutes(1);
  std::function<bool()> go_on = {};  // asked some 50 times a second; false: CANCELLED
};

// Errors: Coordinator.ClaimShard's; UNAVAILABLE, with the last reason, when `limit` has passed.
absl::StatusOr<std::uint32_t> ClaimShard(Transport& transport, const ShardClaim& claim);

}  // namespace leeway
