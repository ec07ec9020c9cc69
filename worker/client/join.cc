#include "worker/client/join.h"

#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/log_every.h"
#include "common/mutex.h"

namespace leeway {
namespace {

constexpr absl::Duration kAskEvery = absl::Milliseconds(200);
constexpr absl::Duration kSayEvery = absl::Seconds(10);

// One answer to one question, and the thread that waits for it.
struct Exchange {
  Mutex mu;
  CondVar changed;
  bool answered LEEWAY_GUARDED_BY(mu) = false;
  bool cancelled LEEWAY_GUARDED_BY(mu) = false;
  absl::Status status LEEWAY_GUARDED_BY(mu);
  v1::JoinReply reply LEEWAY_GUARDED_BY(mu);
};

std::chrono::steady_clock::time_point In(absl::Duration delay) {
  return std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(delay);
}

}  // namespace

absl::StatusOr<v1::JoinReply> JoinCluster(Caller& caller, const v1::JoinRequest& request, absl::Duration patience,
                                          Cancellation& cancellation) {
  auto exchange = std::make_shared<Exchange>();
  const auto listener = cancellation.AddListener([exchange] {
    MutexLock lock(exchange->mu);
    exchange->cancelled = true;
    exchange->changed.NotifyAll();
  });
  const Instant start = caller.Now();
  LogEvery say(kSayEvery);
  for (;;) {
    caller.Call<v1::JoinReply>(kCoordinator, "Coordinator/Join", request, {},
                               [exchange](absl::Status status, Decoded<v1::JoinReply> reply) {
                                 MutexLock lock(exchange->mu);
                                 exchange->answered = true;
                                 exchange->status = std::move(status);
                                 exchange->reply = std::move(reply.message);
                                 exchange->changed.NotifyAll();
                               });
    MutexLock lock(exchange->mu);
    while (!exchange->answered && !exchange->cancelled) exchange->changed.Wait(exchange->mu);
    if (exchange->cancelled) return absl::CancelledError("joining was interrupted");
    if (!exchange->status.ok()) return exchange->status;
    if (!exchange->reply.has_not_yet()) {
      // (Without addresses where the run is over.)
      const v1::JoinReply reply = exchange->reply;
      caller.SetShardAddresses({reply.shard_addresses().begin(), reply.shard_addresses().end()},
                               {reply.local_endpoints().begin(), reply.local_endpoints().end()});
      return reply;
    }
    const absl::Duration waited = caller.Now() - start;
    const std::string& reason = exchange->reply.not_yet().reason();
    if (waited >= patience) {
      return absl::DeadlineExceededError(absl::StrCat("could not join the cluster of ", caller.Describe(kCoordinator),
                                                      " within ", absl::FormatDuration(patience), ": ", reason));
    }
    if (say.Due(caller.Now())) spdlog::info("waiting to join: {}", reason);
    exchange->answered = false;
    const auto next = In(kAskEvery);
    while (!exchange->cancelled && exchange->changed.WaitUntil(exchange->mu, next)) {
    }
  }
}

bool IsOver(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) && absl::StrContains(status.message(), "join again");
}

bool IsQuarantined(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) && absl::StrContains(status.message(), "' is quarantined: ");
}

}  // namespace leeway
