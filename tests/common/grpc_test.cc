// The gRPC transport and server: over loopback, with a plain protobuf client, and when things go wrong.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/codec.h"
#include "common/grpc_buffer.h"
#include "common/grpc_server.h"
#include "common/grpc_status.h"
#include "common/grpc_transport.h"
#include "common/message_size.h"
#include "common/mutex.h"
#include "common/socket.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/parameter_server.grpc.pb.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"
#include "tests/support/transport_suite.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

struct Server {
  explicit Server(RequestHandler* handler) : server(*GrpcServer::Start("127.0.0.1:0", handler)) {}
  std::string address() const { return absl::StrCat("127.0.0.1:", server->port()); }
  const std::unique_ptr<GrpcServer> server;
};

TEST_CASE("gRPC: what every transport promises") {
  CheckTransport({[](RequestHandler* handler) {
                    const auto server = std::make_shared<Server>(handler);
                    return ServerUnderTest{server->address(), [server] { server->server->Shutdown(); }};
                  },
                  [] { return MakeGrpcTransport(); }, "127.0.0.1:1"});
}

TEST_CASE("gRPC: a message of more than 16 MiB is refused") {
  ScriptedHandler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  for (const char* method : {"ParameterServer/PushPull", "Coordinator/Join"}) {
    const Buffer large = Buffer::FromString(std::string(kMaxMessageBytes + 1, 'x'));
    CHECK(Says(CallAndWait(*transport, server.address(), method, large).status, Code::kResourceExhausted,
               {"larger than max"}));
  }
}

TEST_CASE("gRPC: a plain protobuf client speaks with the raw server, and reads its errors") {
  ScriptedHandler handler;
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
  ScriptedHandler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport({.data_connections = 2});
  const auto push_pull = [&] {
    REQUIRE(CallAndWait(*transport, server.address(), "ParameterServer/PushPull", EncodeMessage(v1::PushPullRequest()))
                .status.ok());
  };
  push_pull();
  CHECK(ConnectionsTo(server.server->port()) == 1);
  for (int i = 0; i < 5; ++i) push_pull();
  CHECK(ConnectionsTo(server.server->port()) == 2);
  for (int i = 0; i < 5; ++i) CallAndWait(*transport, server.address(), "Coordinator/Heartbeat", {});
  CHECK(ConnectionsTo(server.server->port()) == 3);
}

TEST_CASE("gRPC: every method of the protocol is routed") {
  ScriptedHandler handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  for (const char* service : {"ParameterServer", "Coordinator"}) {
    const google::protobuf::ServiceDescriptor* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(absl::StrCat("leeway.v1.", service));
    REQUIRE(descriptor != nullptr);
    for (int i = 0; i < descriptor->method_count(); ++i) {
      const std::string method = absl::StrCat(service, "/", descriptor->method(i)->name());
      if (method == "ParameterServer/PutWeights") continue;  // it holds
      const absl::Status status = CallAndWait(*transport, server.address(), method, {}).status;
      CAPTURE(method, status.message());
      CHECK_FALSE(absl::IsUnimplemented(status));
    }
  }
  CHECK(absl::IsUnimplemented(CallAndWait(*transport, server.address(), "Coordinator/NoSuch", {}).status));
}

TEST_CASE("gRPC: a busy port is refused with the system's reason") {
  ScriptedHandler handler;
  Server server(&handler);
  const absl::Status status = GrpcServer::Start(server.address(), &handler).status();
  CHECK(Says(status, Code::kUnavailable, {server.address().c_str(), "Address already in use"}));
  CHECK(Says(GrpcServer::Start("nonsense", &handler).status(), Code::kInvalidArgument, {"nonsense", "host:port"}));
  CHECK(Says(CheckListenAddress("127.0.0.1:99999"), Code::kInvalidArgument, {"99999"}));
}

TEST_CASE("gRPC: health is served") {
  ScriptedHandler handler;
  Server server(&handler);
  const auto channel = grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials());
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
  ScriptedHandler handler;
  Server server(&handler);
  grpc::GenericStub stub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
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

TEST_CASE("gRPC: an error keeps its code, however long its message") {
  class Wordy final : public RequestHandler {
   public:
    void Handle(const std::string&, Buffer, ReplyCallback done) override {
      std::string words = "the name is ";
      while (words.size() < 1 << 20) words += "\n\xe2\x82\xac";  // each byte takes three on its way
      done(absl::NotFoundError(words), {});
    }
  } handler;
  Server server(&handler);
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  const CallResult result = CallAndWait(*transport, server.address(), "Coordinator/Drain", {});
  CHECK(Says(result.status, Code::kNotFound, {"the name is "}));
}

TEST_CASE("gRPC buffer: a message in large pieces is referred to, one in crumbs becomes one piece") {
  const std::string bytes(64 << 10, 'x');
  for (const auto& [size, pieces] : {std::pair<std::size_t, std::size_t>{16 << 10, 4}, {64, 1}}) {
    std::vector<grpc::Slice> slices;
    for (std::size_t at = 0; at < bytes.size(); at += size) slices.emplace_back(bytes.data() + at, size);
    const Buffer buffer = FromGrpc(grpc::ByteBuffer(slices.data(), slices.size()));
    CHECK(buffer.slices().size() == pieces);
    CHECK(buffer.ToString() == bytes);
  }
  CHECK(FromGrpc(grpc::ByteBuffer()).empty());
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
