// ReplyWith: a handler's answer with a message.
//
// Thread safety: pure.
#pragma once

#include "common/rpc.h"

namespace leeway {

inline void ReplyWith(const ReplyCallback& done, const google::protobuf::Message& message) {
  done(absl::OkStatus(), EncodeMessage(message));
}

}  // namespace leeway
