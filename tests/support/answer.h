// Answer: what a handler has replied, if it has.
//
// Thread safety: filled by the handler's thread; read it after that thread is done.
#pragma once

#include <memory>
#include <utility>

#include "common/codec.h"
#include "common/transport.h"

namespace leeway {

template <typename Message>
struct Answer {
  int calls = 0;  // 1 once answered; never more
  absl::Status status;
  Message message;
  Buffer payload;

  bool done() const { return calls > 0; }
  bool ok() const { return calls == 1 && status.ok(); }
};

// A callback that fills `answer`.
template <typename Message>
ReplyCallback FillIn(std::shared_ptr<Answer<Message>> answer) {
  return [answer = std::move(answer)](absl::Status status, Buffer bytes) {
    ++answer->calls;
    answer->status = std::move(status);
    if (answer->status.ok()) answer->status = DecodeMessage(bytes, &answer->message, &answer->payload);
  };
}

}  // namespace leeway
