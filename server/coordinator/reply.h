// Replies: the answers that a handler has when it leaves its lock.
//
// Thread safety: none.
#pragma once

#include <utility>
#include <vector>

#include "common/rpc.h"

namespace leeway {

struct Reply {
  ReplyCallback done;
  absl::Status status;
  Buffer bytes;  // when the status is OK
};

class Replies {
 public:
  void Answer(ReplyCallback done, const google::protobuf::Message& message) {
    replies_.push_back({std::move(done), absl::OkStatus(), EncodeMessage(message)});
  }
  void Refuse(ReplyCallback done, const absl::Status& status) { replies_.push_back({std::move(done), status, {}}); }
  // One or the other.
  void Give(ReplyCallback done, const absl::Status& status, const google::protobuf::Message& message) {
    status.ok() ? Answer(std::move(done), message) : Refuse(std::move(done), status);
  }

  bool empty() const { return replies_.empty(); }
  void Send() const {
    for (const Reply& reply : replies_) reply.done(reply.status, reply.bytes);
  }
  // With `status` instead of what they say.
  void SendAll(const absl::Status& status) const {
    for (const Reply& reply : replies_) reply.done(status, {});
  }

 private:
  std::vector<Reply> replies_;
};

}  // namespace leeway
