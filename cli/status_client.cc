#include "cli/status_client.h"

#include "common/rpc.h"

namespace leeway {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(5);

}  // namespace

StatusClient::StatusClient(Transport* transport, std::string address, bool want_waits)
    : transport_(transport), address_(std::move(address)), want_waits_(want_waits), state_(std::make_shared<State>()) {}

void StatusClient::Ask() {
  v1::GetStatusRequest request;
  {
    MutexLock lock(state_->mu);
    // The waits of an answer that another one replaces would be lost.
    if (state_->asked || (want_waits_ && state_->reply)) return;
    request.set_want_waits(want_waits_);
    request.set_waits_after(state_->next_wait);
    state_->asked = true;
  }
  CallRpc<v1::GetStatusReply>(*transport_, address_, "Coordinator/GetStatus", request, {}, kTimeout,
                              [state = state_](absl::Status status, Decoded<v1::GetStatusReply> reply) {
                                MutexLock lock(state->mu);
                                state->asked = false;
                                if (status.ok()) state->next_wait = reply.message.next_wait();
                                if (status.ok()) state->reply = std::move(reply.message);
                                state->error = std::move(status);
                              });
}

std::optional<v1::GetStatusReply> StatusClient::Take() {
  MutexLock lock(state_->mu);
  return std::exchange(state_->reply, std::nullopt);
}

absl::Status StatusClient::last_error() const {
  MutexLock lock(state_->mu);
  return state_->error;
}

}  // namespace leeway
