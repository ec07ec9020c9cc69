// CallRpc: a typed call over a Transport. Reply: how a handler answers a typed request.
//
// Thread safety: as the Transport's.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "common/codec.h"
#include "common/protocol_version.h"
#include "common/transport.h"

namespace leeway {

// A decoded message and its payload (empty for messages that have none).
template <typename Message>
struct Decoded {
  Message message;
  Buffer payload;
};

// Calls "Service/Method" with `request` and `payload`; `done` gets the decoded reply.
template <typename ReplyMessage>
void CallRpc(Transport& transport, const std::string& address, const std::string& method,
             const google::protobuf::Message& request, const Buffer& payload, absl::Duration timeout,
             std::function<void(absl::Status, Decoded<ReplyMessage>)> done) {
  transport.Call(address, method, EncodeMessage(request, payload), timeout,
                 [done = std::move(done)](absl::Status status, Buffer bytes) {
                   Decoded<ReplyMessage> reply;
                   if (status.ok()) status = DecodeMessage(bytes, &reply.message, &reply.payload);
                   done(std::move(status), std::move(reply));
                 });
}

}  // namespace leeway
