#include "cli/bench/plain_grpc.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/parameter_server.grpc.pb.h"

namespace leeway {
namespace {

using Service = v1::ParameterServer::Service;

class ProtobufService final : public Service {
 public:
  explicit ProtobufService(std::size_t bytes) : weights_(bytes / sizeof(float)) {
    for (std::size_t i = 0; i < weights_.size(); ++i) weights_[i] = static_cast<float>(i % 1000);
  }
  grpc::Status Push(grpc::ServerContext*, const v1::PushRequest*, v1::PushReply* reply) override {
    reply->set_verdict(v1::APPLIED);
    return grpc::Status::OK;
  }
  grpc::Status Pull(grpc::ServerContext*, const v1::PullRequest*, v1::PullReply* reply) override {
    reply->set_payload(weights_.data(), weights_.size() * sizeof(float));
    return grpc::Status::OK;
  }

 private:
  std::vector<float> weights_;
};

class EchoService final : public v1::ParameterServer::WithRawCallbackMethod_Push<Service> {
 public:
  grpc::ServerUnaryReactor* Push(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                 grpc::ByteBuffer* reply) override {
    *reply = *request;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

class Server final : public PlainServer {
 public:
  explicit Server(std::unique_ptr<grpc::Service> service) : service_(std::move(service)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.SetMaxReceiveMessageSize(-1);
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port_);
  }
  bool listening() const { return server_ != nullptr && port_ != 0; }
  const std::string& address() const override { return address_; }

 private:
  std::unique_ptr<grpc::Service> service_;
  int port_ = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;  // last: it calls the service
};

absl::StatusOr<std::unique_ptr<PlainServer>> StartServer(std::unique_ptr<grpc::Service> service) {
  auto server = std::make_unique<Server>(std::move(service));
  if (!server->listening()) return absl::UnavailableError("gRPC cannot listen on 127.0.0.1");
  return server;
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("plain gRPC: ", status.error_message()));
}

class StubClient final : public ProtobufClient {
 public:
  StubClient(const std::string& address, std::size_t bytes)
      : bytes_(bytes), stub_(v1::ParameterServer::NewStub(MakeChannel(address))) {}

  absl::Status Push(const void* from) override {
    grpc::ClientContext context;
    v1::PushRequest request;
    v1::PushReply reply;
    request.set_payload(from, bytes_);
    return ToStatus(stub_->Push(&context, request, &reply));
  }

  absl::Status Pull(void* to) override {
    grpc::ClientContext context;
    v1::PullReply reply;
    const grpc::Status status = stub_->Pull(&context, v1::PullRequest(), &reply);
    if (!status.ok()) return ToStatus(status);
    if (reply.payload().size() != bytes_) {
      return absl::InternalError(absl::StrCat("plain gRPC: ", reply.payload().size(), " bytes, not ", bytes_));
    }
    std::memcpy(to, reply.payload().data(), bytes_);
    return absl::OkStatus();
  }

 private:
  const std::size_t bytes_;
  const std::unique_ptr<v1::ParameterServer::Stub> stub_;
};

class RawEchoClient final : public EchoClient {
 public:
  explicit RawEchoClient(const std::string& address) : stub_(MakeChannel(address)) {}

  void Call(const std::string& bytes, std::function<void(const absl::Status&)> done) override {
    struct State {
      grpc::ClientContext context;
      grpc::ByteBuffer request, reply;
    };
    auto state = std::make_shared<State>();
    const grpc::Slice slice(bytes);
    state->request = grpc::ByteBuffer(&slice, 1);
    stub_.UnaryCall(
        &state->context, "/leeway.v1.ParameterServer/Push", grpc::StubOptions(), &state->request, &state->reply,
        [state, size = bytes.size(), done = std::move(done)](const grpc::Status& status) {
          if (!status.ok() || state->reply.Length() == size) return done(ToStatus(status));
          done(absl::InternalError(absl::StrCat("an echo of ", state->reply.Length(), " bytes, not ", size)));
        });
  }

 private:
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PlainServer>> StartProtobufServer(std::size_t bytes) {
  return StartServer(std::make_unique<ProtobufService>(bytes));
}

absl::StatusOr<std::unique_ptr<PlainServer>> StartEchoServer() { return StartServer(std::make_unique<EchoService>()); }

std::unique_ptr<ProtobufClient> MakeProtobufClient(const std::string& address, std::size_t bytes) {
  return std::make_unique<StubClient>(address, bytes);
}

std::unique_ptr<EchoClient> MakeEchoClient(const std::string& address) {
  return std::make_unique<RawEchoClient>(address);
}

}  // namespace leeway
