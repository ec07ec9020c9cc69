// StoreTransport: calls of a CheckpointStore in this process, over a network that loses and repeats what it is told to.
//
// Thread safety: calls from one thread; their replies come from the store's executor. Ownership: the store outlives it.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "common/transport.h"
#include "server/checkpoint_store.h"

namespace leeway {

class StoreTransport final : public Transport {
 public:
  enum class Fault { kNone, kLostRequest, kLostReply, kTwice };
  using Faults = std::function<Fault(int call, const std::string& method)>;

  static Faults NoFaults() {
    return [](int, const std::string&) { return Fault::kNone; };
  }

  StoreTransport(CheckpointStore* store, Faults faults) : store_(store), faults_(std::move(faults)) {}

  void Call(const std::string&, const std::string& method, Buffer request, absl::Duration,
            ReplyCallback done) override {
    const std::string name = method.substr(method.find('/') + 1);
    const Fault fault = faults_(calls_++, name);
    if (fault == Fault::kLostRequest) return done(absl::UnavailableError("the request is lost"), {});
    if (fault == Fault::kTwice) store_->Handle(name, request, [](const absl::Status&, const Buffer&) {});
    store_->Handle(name, request, [done = std::move(done), fault](absl::Status status, Buffer reply) {
      if (fault == Fault::kLostReply) return done(absl::DeadlineExceededError("the reply is lost"), {});
      done(std::move(status), std::move(reply));
    });
  }

  int calls() const { return calls_; }

 private:
  CheckpointStore* const store_;
  const Faults faults_;
  int calls_ = 0;
};

}  // namespace leeway
