// What a bench's peers answer with: handlers that do nothing but what the transport needs.
//
// Thread safety: as RequestHandler's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/executor.h"
#include "common/placement.h"
#include "common/transport.h"

namespace leeway {

// A shard without arithmetic, policy or membership: a push is decoded, its size checked and acknowledged; a pull is
// answered with the weights where they lie, which are i % 1000 (i: the element's index).
class PeerHandler final : public RequestHandler {
 public:
  static absl::StatusOr<std::unique_ptr<PeerHandler>> Make(std::uint64_t elements);
  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;

 private:
  explicit PeerHandler(const Placement& placement);
  void Push(const Buffer& request, const ReplyCallback& done) const;
  void Pull(const Buffer& request, const ReplyCallback& done) const;
  // INVALID_ARGUMENT: a run that the placement does not have.
  absl::StatusOr<std::uint64_t> BytesOf(std::uint64_t first_block, std::uint64_t num_blocks) const;

  const Placement placement_;
  const std::shared_ptr<const std::vector<float>> weights_;
};

// Answers with what was asked.
class EchoHandler final : public RequestHandler {
 public:
  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;
};

// Lets a ProtobufClient push when asked to Push, pull when asked to Pull, and answers when that is done.
std::unique_ptr<RequestHandler> MakeProtobufDriver(const std::string& address, std::uint64_t elements);

}  // namespace leeway
