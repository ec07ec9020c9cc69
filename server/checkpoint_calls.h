// CheckpointCalls: calls of shard 0's CheckpointStore that are repeated until they are answered. Shard 0 may be away
// for as long as it takes to start it again; who waits for it, and why, is in the log every 10 s.
//
// Thread safety: any thread; it blocks, and so is not for those that answer calls. Ownership: `transport` and
// `waiter` outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc.h"
#include "common/transport.h"
#include "server/waiter.h"

namespace leeway {

class CheckpointCalls {
 public:
  struct Options {
    std::string address;      // of shard 0
    std::uint32_t shard = 0;  // who calls, for the log
    // Asked at each call: how long shard 0 may give no answer.
    std::function<absl::Duration()> limit = [] { return absl::InfiniteDuration(); };
  };

  CheckpointCalls(Options options, Transport* transport, Waiter* waiter = Waiter::Real())
      : options_(std::move(options)), transport_(transport), waiter_(waiter) {}

  const std::string& address() const { return options_.address; }

  // "Write", "Read" or "List". `go_on` is called some 50 times a second. Errors: the method's; CANCELLED: `go_on` has
  // said no; DEADLINE_EXCEEDED: no answer within the limit, with the last reason; FAILED_PRECONDITION: shard 0 does not
  // know this service.
  template <typename Reply>
  absl::StatusOr<Decoded<Reply>> Call(const std::string& method, const google::protobuf::Message& request,
                                      const Buffer& payload, const std::function<bool()>& go_on) const {
    absl::StatusOr<Buffer> bytes = CallBytes(method, EncodeMessage(request, payload), go_on);
    if (!bytes.ok()) return bytes.status();
    Decoded<Reply> reply;
    if (absl::Status status = DecodeMessage(*bytes, &reply.message, &reply.payload); !status.ok()) return status;
    return reply;
  }

 private:
  absl::StatusOr<Buffer> CallBytes(const std::string& method, const Buffer& request,
                                   const std::function<bool()>& go_on) const;

  const Options options_;
  Transport* const transport_;
  Waiter* const waiter_;
};

}  // namespace leeway
