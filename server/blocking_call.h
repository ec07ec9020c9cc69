// CallAndWait: one call of code that may block, and that is to end early when it is told to.
//
// Thread safety: any thread; it blocks, and so is not for those that answer calls.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc.h"
#include "common/transport.h"
#include "server/waiter.h"

namespace leeway {

// The answer, or why there is none; CANCELLED: `go_on` says no.
template <typename Reply>
absl::StatusOr<Reply> CallAndWait(Transport& transport, const std::string& address, const std::string& method,
                                  const google::protobuf::Message& request, absl::Duration timeout,
                                  const std::function<bool()>& go_on = nullptr) {
  struct Answer {
    OnceEvent came;
    absl::StatusOr<Reply> reply;
  };
  const auto answer = std::make_shared<Answer>();  // the call under way holds it as well
  CallRpc<Reply>(transport, address, method, request, {}, timeout, [answer](absl::Status status, Decoded<Reply> reply) {
    if (status.ok()) {
      answer->reply = std::move(reply.message);
    } else {
      answer->reply = std::move(status);
    }
    answer->came.Happen();
  });
  if (!AwaitEvent(answer->came, absl::InfiniteDuration(), go_on)) return absl::CancelledError("given up");
  return std::move(answer->reply);
}

}  // namespace leeway
