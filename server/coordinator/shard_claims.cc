#include "server/coordinator/shard_claims.h"

namespace leeway {

std::optional<std::uint32_t> ShardClaims::Claim(Instant now, std::uint64_t claim, const std::vector<bool>& served) {
  for (auto& [shard, given] : given_) {
    if (given.claim != claim || shard >= served.size()) continue;
    given.until = now + kKept;
    return shard;
  }
  for (std::uint32_t shard = 1; shard < served.size(); ++shard) {
    const auto it = given_.find(shard);
    const bool kept = it != given_.end() && now < it->second.until;
    if (served[shard] || kept) continue;
    given_[shard] = {claim, now + kKept};
    return shard;
  }
  return std::nullopt;
}

}  // namespace leeway
