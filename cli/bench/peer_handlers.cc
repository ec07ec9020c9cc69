#include "cli/bench/peer_handlers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/bench/plain_grpc.h"
#include "common/codec.h"
#include "common/status_macros.h"
#include "proto/parameter_server.pb.h"

namespace leeway {
namespace {

std::shared_ptr<const std::vector<float>> PatternWeights(std::uint64_t elements) {
  auto weights = std::make_shared<std::vector<float>>(elements);
  for (std::uint64_t i = 0; i < elements; ++i) (*weights)[i] = static_cast<float>(i % 1000);
  return weights;
}

class ProtobufDriver final : public RequestHandler {
 public:
  ProtobufDriver(const std::string& address, std::uint64_t elements)
      : vector_(elements, 1.0f),
        client_(MakeProtobufClient(address, elements * sizeof(float))),
        thread_(MakeThreadPool(1)) {}

  void Handle(const std::string& method, Buffer, ReplyCallback done) override {
    thread_->Post([this, push = method == "ParameterServer/Push", done = std::move(done)] {
      done(push ? client_->Push(vector_.data()) : client_->Pull(vector_.data()), {});
    });
  }

 private:
  std::vector<float> vector_;
  const std::unique_ptr<ProtobufClient> client_;
  const std::unique_ptr<Executor> thread_;  // last: its tasks use the rest
};

}  // namespace

absl::StatusOr<std::unique_ptr<PeerHandler>> PeerHandler::Make(std::uint64_t elements) {
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(elements, 1));
  return std::unique_ptr<PeerHandler>(new PeerHandler(placement));
}

PeerHandler::PeerHandler(const Placement& placement)
    : placement_(placement), weights_(PatternWeights(placement.elements())) {}

void PeerHandler::Handle(const std::string& method, Buffer request, ReplyCallback done) {
  if (method == "ParameterServer/Push") return Push(request, done);
  if (method == "ParameterServer/Pull") return Pull(request, done);
  done(absl::UnimplementedError(absl::StrCat("bench peer: ", method)), {});
}

absl::StatusOr<std::uint64_t> PeerHandler::BytesOf(std::uint64_t first_block, std::uint64_t num_blocks) const {
  if (first_block >= placement_.num_blocks() || num_blocks > placement_.num_blocks() - first_block) {
    return absl::InvalidArgumentError(absl::StrCat("bench peer: ", num_blocks, " blocks from block ", first_block,
                                                   ": there are ", placement_.num_blocks()));
  }
  return placement_.RunElements({first_block, static_cast<std::uint32_t>(num_blocks)}) * sizeof(float);
}

void PeerHandler::Push(const Buffer& request, const ReplyCallback& done) const {
  v1::PushRequest push;
  Buffer payload;
  if (absl::Status status = DecodeMessage(request, &push, &payload); !status.ok()) return done(std::move(status), {});
  const absl::StatusOr<std::uint64_t> bytes = BytesOf(push.run().first_block(), push.run().num_blocks());
  if (!bytes.ok()) return done(bytes.status(), {});
  if (payload.size() != *bytes) {
    return done(absl::InvalidArgumentError(absl::StrCat("bench peer: ", payload.size(), " bytes, not ", *bytes)), {});
  }
  v1::PushReply reply;
  reply.set_verdict(v1::APPLIED);
  done(absl::OkStatus(), EncodeMessage(reply));
}

void PeerHandler::Pull(const Buffer& request, const ReplyCallback& done) const {
  v1::PullRequest pull;
  if (absl::Status status = DecodeMessage(request, &pull); !status.ok()) return done(std::move(status), {});
  const absl::StatusOr<std::uint64_t> bytes = BytesOf(pull.run().first_block(), pull.run().num_blocks());
  if (!bytes.ok()) return done(bytes.status(), {});
  v1::PullReply reply;
  reply.set_version(1);
  reply.set_generation(1);
  *reply.mutable_run() = pull.run();
  const float* weights = weights_->data() + placement_.BlockBegin(pull.run().first_block());
  done(absl::OkStatus(), EncodeMessage(reply, Buffer::Wrap(weights_, weights, *bytes)));
}

void EchoHandler::Handle(const std::string&, Buffer request, ReplyCallback done) {
  done(absl::OkStatus(), std::move(request));
}

std::unique_ptr<RequestHandler> MakeProtobufDriver(const std::string& address, std::uint64_t elements) {
  return std::make_unique<ProtobufDriver>(address, elements);
}

}  // namespace leeway
