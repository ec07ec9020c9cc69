#include "server/claim_shard.h"

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/mutex.h"
#include "common/retry.h"
#include "common/rpc.h"
#include "proto/coordinator.pb.h"

namespace leeway {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(6);
constexpr absl::Duration kPause = absl::Milliseconds(300);  // between two attempts
constexpr auto kLook = std::chrono::milliseconds(100);

using Result = absl::StatusOr<v1::ClaimShardReply>;

// A call under way holds it as well.
struct Answer {
  Mutex mu;
  CondVar came;
  std::optional<Result> result LEEWAY_GUARDED_BY(mu);
};

// Waits for the answer until `until`; nothing: there is none, or `go_on` says no.
std::optional<Result> Await(Answer& answer, absl::Time until, const std::function<bool()>& go_on) {
  while (absl::Now() < until && (!go_on || go_on())) {
    MutexLock lock(answer.mu);
    if (!answer.result) answer.came.WaitUntil(answer.mu, std::chrono::steady_clock::now() + kLook);
    if (answer.result) return *answer.result;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::uint32_t> ClaimShard(Transport& transport, const ShardClaim& claim) {
  v1::ClaimShardRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_num_shards(claim.num_shards);
  // The same in every attempt: an answer that was lost is given again.
  std::random_device random;
  request.set_claim((std::uint64_t{random()} << 32) | random());
  const absl::Time end = absl::Now() + claim.limit;
  std::string reason = "no answer";
  while (absl::Now() < end) {
    const auto answer = std::make_shared<Answer>();
    CallRpc<v1::ClaimShardReply>(transport, claim.coordinator, "Coordinator/ClaimShard", request, {}, kTimeout,
                                 [answer](absl::Status status, Decoded<v1::ClaimShardReply> reply) {
                                   MutexLock lock(answer->mu);
                                   if (status.ok()) {
                                     answer->result = std::move(reply.message);
                                   } else {
                                     answer->result = std::move(status);
                                   }
                                   answer->came.NotifyAll();
                                 });
    const std::optional<Result> result = Await(*answer, absl::Now() + kTimeout + absl::Seconds(1), claim.go_on);
    if (result && result->ok()) return (*result)->shard_index();
    if (result && !IsRetryable(result->status())) return result->status();
    if (result) reason = std::string(result->status().message());
    Answer nobody;
    Await(nobody, absl::Now() + kPause, claim.go_on);
    if (claim.go_on && !claim.go_on())
      return absl::CancelledError("told to end before the coordinator gave it a shard");
  }
  return absl::UnavailableError(absl::StrCat("the coordinator at ", claim.coordinator, " gave this ps no shard within ",
                                             absl::FormatDuration(claim.limit), ": ", reason));
}

}  // namespace leeway
