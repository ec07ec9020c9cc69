#include "worker/trainer/leave_cluster.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/run_failure.h"

namespace leeway {
namespace {

constexpr absl::Duration kLastWords = absl::Seconds(5);
constexpr absl::Duration kAttempt = absl::Milliseconds(2500);  // one that is lost is sent again in those 5 s

}  // namespace

absl::Status LeaveCluster(CoordinatorClient& coordinator, const std::shared_ptr<Mailbox>& mailbox,
                          v1::LeaveRequest request, absl::Duration lease, const Cancellation& cancellation) {
  const std::string reason = request.reason();
  auto answer = std::make_shared<std::optional<absl::StatusOr<v1::LeaveReply>>>();
  coordinator.Leave(std::move(request), kAttempt, [answer, mailbox](absl::Status status, v1::LeaveReply reply) {
    mailbox->Post([answer, status, reply = std::move(reply)] {
      *answer = status.ok() ? absl::StatusOr<v1::LeaveReply>(reply) : absl::StatusOr<v1::LeaveReply>(status);
    });
  });
  const auto answered = [&answer] { return answer->has_value(); };
  mailbox->RunUntil([&] { return answered() || cancellation.cancelled(); }, lease + kLastWords);
  if (cancellation.cancelled()) mailbox->RunUntil(answered, kLastWords);
  if (answered() && (*answer)->ok()) return RunFailure((**answer)->failure());
  const std::string why = answered() ? (*answer)->status().ToString() : "no answer";
  if (cancellation.cancelled()) {
    spdlog::warn("could not tell the coordinator about leaving ({}): {}", reason, why);
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("gave up on the coordinator: it could not be told about leaving (", reason,
                                             "), nor asked how the run has ended: ", why));
}

}  // namespace leeway
