// HeldCalls: a Transport whose calls are answered when the test says so: by it, or by the transport behind.
//
// Thread safety: none. Answers are given in line.
#pragma once

#include <deque>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/buffer.h"
#include "common/transport.h"

namespace leeway {

class HeldCalls final : public Transport {
 public:
  explicit HeldCalls(Transport* behind = nullptr) : behind_(behind) {}

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    calls.push_back({address, method, std::move(request), timeout, std::move(done)});
  }

  // Of the oldest call.
  void Answer(const absl::Status& status, Buffer reply = {}) { TakeOldest().done(status, std::move(reply)); }
  void PassOn() {
    Held call = TakeOldest();
    behind_->Call(call.address, call.method, std::move(call.request), call.timeout, std::move(call.done));
  }

  struct Held {
    std::string address;
    std::string method;
    Buffer request;
    absl::Duration timeout;
    ReplyCallback done;
  };
  std::deque<Held> calls;  // the oldest first

 private:
  Held TakeOldest() {
    Held call = std::move(calls.front());
    calls.pop_front();
    return call;
  }

  Transport* const behind_;
};

}  // namespace leeway
