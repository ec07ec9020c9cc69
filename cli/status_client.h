// StatusClient: asks the coordinator how it goes, without making anybody wait for the answer.
//
// Thread safety: any thread. Ownership: `transport` outlives the client's last answer, which the transport's
// own destructor waits for; the client itself may go before.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "common/transport.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class StatusClient {
 public:
  // `want_waits`: the answers have the single waits of workers too, each of them once, in parts.
  StatusClient(Transport* transport, std::string address, bool want_waits = false);

  // Sends a GetStatus, unless one is under way or, with waits, an answer has not been taken.
  void Ask();

  // The newest answer, once.
  std::optional<v1::GetStatusReply> Take();

  // Of the newest answer; OK before the first.
  absl::Status last_error() const;

 private:
  struct State {
    Mutex mu;
    bool asked LEEWAY_GUARDED_BY(mu) = false;
    absl::Status error LEEWAY_GUARDED_BY(mu);
    std::optional<v1::GetStatusReply> reply LEEWAY_GUARDED_BY(mu);
    std::uint64_t next_wait LEEWAY_GUARDED_BY(mu) = 0;
  };

  Transport* const transport_;
  const std::string address_;
  const bool want_waits_;
  const std::shared_ptr<State> state_;  // the callback of a call under way holds it as well
};

}  // namespace leeway
