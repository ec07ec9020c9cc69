#include "cli/status_client.h"

#include "common/codec.h"

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
  // Not CallRpc: it would take the evaluations, whose number is that of a payload, out of the message.
  transport_->Call(address_, "Coordinator/GetStatus", EncodeMessage(request), kTimeout,
                   [state = state_](absl::Status status, Buffer bytes) {
                     v1::GetStatusReply reply;
                     if (status.ok()) status = DecodeMessage(bytes, &reply);
                     MutexLock lock(state->mu);
                     state->asked = false;
                     if (status.ok()) state->next_wait = reply.next_wait();
                     if (status.ok()) state->reply = std::move(reply);
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
