#include "server/claim_shard.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/random_id.h"
#include "common/retry.h"
#include "proto/coordinator.pb.h"
#include "server/blocking_call.h"
#include "server/waiter.h"

namespace leeway {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(6);
constexpr absl::Duration kPause = absl::Milliseconds(300);  // between two attempts

}  // namespace

absl::StatusOr<std::uint32_t> ClaimShard(Transport& transport, const ShardClaim& claim) {
  v1::ClaimShardRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_num_shards(claim.num_shards);
  request.set_claim(RandomId());  // the same in every attempt: an answer that was lost is given again
  const absl::Time end = absl::Now() + claim.limit;
  std::string reason = "no answer";
  while (absl::Now() < end) {
    const auto reply = CallAndWait<v1::ClaimShardReply>(transport, claim.coordinator, "Coordinator/ClaimShard", request,
                                                        kTimeout, claim.go_on);
    if (reply.ok()) return reply->shard_index();
    if (!absl::IsCancelled(reply.status()) && !IsRetryable(reply.status())) return reply.status();
    reason = std::string(reply.status().message());
    if (Pause(kPause, claim.go_on)) continue;
    return absl::CancelledError("told to end before the coordinator gave it a shard");
  }
  return absl::UnavailableError(absl::StrCat("the coordinator at ", claim.coordinator, " gave this ps no shard within ",
                                             absl::FormatDuration(claim.limit), ": ", reason));
}

}  // namespace leeway
