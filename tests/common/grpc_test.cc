// The gRPC transport and server: over loopback, with a plain protobuf client, and when things go wrong.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/grpc_server.h"
#include "common/grpc_status.h"
#include "common/grpc_transport.h"
#include "common/mutex.h"
#include "common/retry.h"
#include "common/rpc.h"
#include "common/socket.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/parameter_server.grpc.pb.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

// Answers pulls with its request's clock and payload, holds PutWeights until it is told, refuses pushes.
class Handler final : public RequestHandler {
 public:
  void Handle(const std::string& method, Buffer request, ReplyCallback done) override {
    if (method == "ParameterServer/PushPull") {
      Decoded<v1::PushPullRequest> decoded;
      if (absl::Status status = DecodeMessage(request, &decoded.message, &decoded.payload); !status.ok()) {
        return done(status, {});
      }
      v1::PushPullReply reply;
      reply.mutable_push()->set_version(decoded.message.push().clock());
      return done(absl::OkStatus(), EncodeMessage(reply, decoded.payload));
    }
    if (method == "ParameterServer/Push") {
      return done(WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Milliseconds(70)), {});
    }
    if (method == "ParameterServer/PutWeights") {
      MutexLock lock(mu_);
      held_.push_back(std::move(done));
      return;
    }
    done(absl::FailedPreconditionError("called " + method), {});
  }

  std::size_t held() {
    MutexLock lock(mu_);
    return held_.size();
  }
  void Release(const absl::Status& status) {
    std::vector<ReplyCallback> held;
    {
      MutexLock lock(mu_);
      held = std::exchange(held_, {});
    }
    for (const ReplyCallback& done : held) done(status, EncodeMessage(v1::PutWeightsReply()));
  }

 private:
  Mutex mu_;
  std::vector<ReplyCallback> held_ LEEWAY_GUARDED_BY(mu_);
};

struct Result {
  absl::Status status;
  Buffer reply;
};

Result Call(Transport& transport, const std::string& address, const std::string& method, const Buffer& request,
            absl::Duration timeout = absl::Seconds(20)) {
  Mutex mu;
  CondVar changed;
  bool done = false;
  Result result;
  transport.Call(address, method, request, timeout, [&](absl::Status status, Buffer reply) {
    MutexLock lock(mu);
    result = {std::move(status), std::move(reply)};
    done = true;
    changed.NotifyAll();
  });
  MutexLock lock(mu);
  while (!done) changed.Wait(mu);
  return result;
}

struct Server {
  explicit Server(Handler* handler) : server(*GrpcServer::Start({"127.0.0.1:0", local}, handler)) {}
  std::string address() const { return absl::StrCat("127.0.0.1:", server->port()); }
  const std::string local = absl::StrCat("unix-abstract:leeway-test-", std::random_device()());
  std::unique_ptr<GrpcServer> server;
};

TEST_CASE("gRPC: a message with a payload of 16 MiB goes there and back, a larger one is refused") {
  Handler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  std::string bytes(16 << 20, '\0');
  for (std::size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = static_cast<char>(i >> 12);
  v1::PushPullRequest request;
  request.mutable_push()->set_clock(42);
  const Result result =
      Call(*transport, server.address(), "ParameterServer/PushPull", EncodeMessage(request, Buffer::FromString(bytes)));
  REQUIRE(result.status.ok());
  Decoded<v1::PushPullReply> reply;
  REQUIRE(DecodeMessage(result.reply, &reply.message, &reply.payload).ok());
  CHECK(reply.message.push().version() == 42);
  CHECK((reply.payload.ToString() == bytes));
  for (const char* method : {"ParameterServer/PushPull", "Coordinator/Join"}) {
    const Buffer large = Buffer::FromString(std::string(GrpcServer::kMaxMessageBytes + 1, 'x'));
    CHECK(
        Says(Call(*transport, server.address(), method, large).status, Code::kResourceExhausted, {"larger than max"}));
  }
}

TEST_CASE("gRPC: a plain protobuf client speaks with the raw server, and reads its errors") {
  Handler handler;
  Server server(&handler);
  const auto channel = grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials());
  const auto shards = v1::ParameterServer::NewStub(channel);
  v1::PushPullRequest request;
  request.mutable_push()->set_clock(7);
  request.set_payload("floats");
  v1::PushPullReply reply;
  grpc::ClientContext first;
  REQUIRE(shards->PushPull(&first, request, &reply).ok());
  CHECK(reply.push().version() == 7);
  CHECK(reply.payload() == "floats");
  grpc::ClientContext second;
  v1::PushReply push_reply;
  CHECK(shards->Push(&second, v1::PushRequest(), &push_reply).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  // Every method of both services arrives under its own name.
  const auto coordinator = v1::Coordinator::NewStub(channel);
  grpc::ClientContext third;
  v1::JoinReply join_reply;
  const grpc::Status joined = coordinator->Join(&third, v1::JoinRequest(), &join_reply);
  CHECK(joined.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(joined.error_message() == "called Coordinator/Join");
}

// Connections that are established from this machine to `port` of it.
int ConnectionsTo(int port) {
  const std::string remote = absl::StrFormat(":%04X 01 ", port);  // 01: established
  int count = 0;
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream table(path);
    for (std::string line; std::getline(table, line);) count += absl::StrContains(line, remote) ? 1 : 0;
  }
  return count;
}

TEST_CASE("gRPC: weights and gradients have connections of their own, all other calls one") {
  Handler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport({.data_connections = 2});
  const auto push_pull = [&] {
    REQUIRE(Call(*transport, server.address(), "ParameterServer/PushPull", EncodeMessage(v1::PushPullRequest()))
                .status.ok());
  };
  push_pull();
  CHECK(ConnectionsTo(server.server->port()) == 1);
  for (int i = 0; i < 5; ++i) push_pull();
  CHECK(ConnectionsTo(server.server->port()) == 2);
  for (int i = 0; i < 5; ++i) Call(*transport, server.address(), "Coordinator/Heartbeat", {});
  CHECK(ConnectionsTo(server.server->port()) == 3);
}

TEST_CASE("gRPC: every method of the protocol is routed") {
  Handler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  for (const char* service : {"ParameterServer", "Coordinator"}) {
    const google::protobuf::ServiceDescriptor* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(absl::StrCat("leeway.v1.", service));
    REQUIRE(descriptor != nullptr);
    for (int i = 0; i < descriptor->method_count(); ++i) {
      const std::string method = absl::StrCat(service, "/", descriptor->method(i)->name());
      if (method == "ParameterServer/PutWeights") continue;  // it holds
      const absl::Status status = Call(*transport, server.address(), method, {}).status;
      CAPTURE(method, status.message());
      CHECK_FALSE(absl::IsUnimplemented(status));
    }
  }
  CHECK(absl::IsUnimplemented(Call(*transport, server.address(), "Coordinator/NoSuch", {}).status));
}

TEST_CASE("gRPC: the delay a server asks for reaches the client") {
  Handler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  const absl::Status status = Call(*transport, server.address(), "ParameterServer/Push", {}).status;
  CHECK(Says(status, Code::kResourceExhausted, {"full"}));
  CHECK(RetryAfter(status) == absl::Milliseconds(70));
}

TEST_CASE("gRPC: a deadline ends a call that is held; an unreachable server is named") {
  Handler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  const absl::Status late =
      Call(*transport, server.address(), "ParameterServer/PutWeights", {}, absl::Milliseconds(200)).status;
  CHECK(Says(late, Code::kDeadlineExceeded, {server.address().c_str()}));
  handler.Release(absl::OkStatus());  // its answer finds nobody
  const absl::Status nobody = Call(*transport, "127.0.0.1:1", "Coordinator/Join", {}).status;
  CHECK(Says(nobody, Code::kUnavailable, {"127.0.0.1:1"}));
}

TEST_CASE("gRPC: a busy port is refused with the system's reason") {
  Handler handler;
  Server server(&handler);
  const absl::Status status = GrpcServer::Start({server.address()}, &handler).status();
  CHECK(Says(status, Code::kUnavailable, {server.address().c_str(), "Address already in use"}));
  CHECK(Says(GrpcServer::Start({"nonsense"}, &handler).status(), Code::kInvalidArgument, {"nonsense", "host:port"}));
  CHECK(Says(CheckListenAddress("127.0.0.1:99999"), Code::kInvalidArgument, {"99999"}));
}

TEST_CASE("gRPC: the transport's end cancels what is under way and waits for it") {
  Handler handler;
  Server server(&handler);
  std::unique_ptr<Transport> transport = MakeGrpcTransport();
  Mutex mu;
  std::vector<absl::Status> ends;
  for (int i = 0; i < 3; ++i) {
    transport->Call(server.address(), "ParameterServer/PutWeights", {}, absl::Seconds(30),
                    [&](absl::Status status, Buffer) {
                      MutexLock lock(mu);
                      ends.push_back(std::move(status));
                    });
  }
  while (handler.held() < 3) std::this_thread::yield();
  transport.reset();
  MutexLock lock(mu);
  REQUIRE(ends.size() == 3);
  for (const absl::Status& status : ends) CHECK(absl::IsCancelled(status));
  handler.Release(absl::OkStatus());
}

TEST_CASE("gRPC: Shutdown waits for the handler's answers, and they arrive") {
  Handler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  Result result;
  std::thread caller([&] { result = Call(*transport, server.address(), "ParameterServer/PutWeights", {}); });
  while (handler.held() < 1) std::this_thread::yield();
  std::thread stopper([&] { server.server->Shutdown(); });
  handler.Release(absl::UnavailableError("shutting down"));
  stopper.join();
  caller.join();
  CHECK(Says(result.status, Code::kUnavailable, {"shutting down"}));
  CHECK(absl::IsUnavailable(Call(*transport, server.address(), "ParameterServer/Push", {}).status));
}

TEST_CASE("gRPC: the same methods answer on the unix socket, and it ends with the server") {
  Handler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  REQUIRE(ProbeLocalSocket(server.local).ok());
  v1::PushPullRequest request;
  request.mutable_push()->set_clock(42);
  std::string bytes(3 << 20, 'x');
  const Result result =
      Call(*transport, server.local, "ParameterServer/PushPull", EncodeMessage(request, Buffer::FromString(bytes)));
  REQUIRE(result.status.ok());
  Decoded<v1::PushPullReply> reply;
  REQUIRE(DecodeMessage(result.reply, &reply.message, &reply.payload).ok());
  CHECK(reply.message.push().version() == 42);
  CHECK((reply.payload.ToString() == bytes));
  const absl::Status taken = GrpcServer::Start({"127.0.0.1:0", server.local}, &handler).status();
  CHECK(Says(taken, Code::kUnavailable, {server.local.c_str()}));
  server.server->Shutdown();
  CHECK(Says(ProbeLocalSocket(server.local), Code::kUnavailable, {"Connection refused"}));
  CHECK(Says(Call(*transport, server.local, "ParameterServer/PushPull", {}).status, Code::kUnavailable,
             {server.local.c_str()}));
}

TEST_CASE("gRPC: health is served") {
  Handler handler;
  Server server(&handler);
  const bool over_unix = GENERATE(false, true);
  const auto channel =
      grpc::CreateChannel(over_unix ? server.local : server.address(), grpc::InsecureChannelCredentials());
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel);
  const auto health = [&stub] {
    Mutex mu;
    CondVar changed;
    bool done = false;
    grpc::Status status;
    grpc::ClientContext context;
    grpc::ByteBuffer empty(nullptr, 0);
    grpc::ByteBuffer reply;
    stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &empty, &reply, [&](grpc::Status s) {
      MutexLock lock(mu);
      status = std::move(s);
      done = true;
      changed.NotifyAll();
    });
    MutexLock lock(mu);
    while (!done) changed.Wait(mu);
    std::vector<grpc::Slice> slices;
    std::string bytes;
    if (status.ok() && reply.Dump(&slices).ok()) {
      for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return bytes;
  };
  server.server->SetServing(true);
  CHECK(health() == std::string("\x08\x01"));  // status: SERVING
  server.server->SetServing(false);
  CHECK(health() == std::string("\x08\x02"));  // NOT_SERVING
}

TEST_CASE("gRPC: reflection lists both services") {
  Handler handler;
  Server server(&handler);
  const bool over_unix = GENERATE(false, true);
  grpc::GenericStub stub(
      grpc::CreateChannel(over_unix ? server.local : server.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  REQUIRE(next());
  const grpc::Slice list_services(std::string(":\x01*"));  // field 7: "*"
  call->Write(grpc::ByteBuffer(&list_services, 1), nullptr);
  REQUIRE(next());
  grpc::ByteBuffer reply;
  call->Read(&reply, nullptr);
  REQUIRE(next());
  std::vector<grpc::Slice> slices;
  REQUIRE(reply.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  CHECK(bytes.find("leeway.v1.ParameterServer") != std::string::npos);
  CHECK(bytes.find("leeway.v1.Coordinator") != std::string::npos);
  grpc::Status status;
  context.TryCancel();
  call->Finish(&status, nullptr);
  next();
  queue.Shutdown();
  while (next()) {
  }
}

TEST_CASE("gRPC status: nothing answers UNKNOWN; codes and messages survive") {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    const absl::Status back = FromGrpc(ToGrpc(status));
    CHECK(back.message() == "why");
    CHECK(back.code() == (absl::IsUnknown(status) ? Code::kInternal : status.code()));
  }
  CHECK(ToGrpc(absl::OkStatus()).ok());
  CHECK(FromGrpc(grpc::Status(grpc::StatusCode::UNKNOWN, "Stream removed")).code() == Code::kUnavailable);
}

}  // namespace
}  // namespace leeway
