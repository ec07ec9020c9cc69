// How many messages with payloads the server reads at once, with a client whose messages do not come.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/grpc_server.h"
#include "common/grpc_status.h"
#include "common/mutex.h"
#include "common/read_turns.h"
#include "common/retry.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

// Counts, and answers.
class Handler final : public RequestHandler {
 public:
  void Handle(const std::string&, Buffer, ReplyCallback done) override {
    ++handled;
    done(absl::OkStatus(), Buffer::FromString("reply"));
  }
  std::atomic<std::size_t> handled = 0;
};

// One call of a method from its start to its end. The message goes out when Send is called.
class Call final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>;

  Call(Stub& stub, const std::string& method, std::size_t size, grpc_compression_algorithm packed)
      : bytes_(std::string(size, 'x')) {
    context_.set_compression_algorithm(packed);
    stub.PrepareBidiStreamingCall(&context_, "/leeway.v1." + method, grpc::StubOptions(), this);
    StartRead(&reply_);
    StartCall();
  }
  void Send() { StartWriteLast(&message_, grpc::WriteOptions()); }
  void EndWithoutMessage() { StartWritesDone(); }
  void Cancel() { context_.TryCancel(); }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mu_);
    written_ = ok;
  }
  void OnDone(const grpc::Status& status) override {
    MutexLock lock(mu_);
    status_ = FromGrpc(status);
    done_ = true;
    changed_.NotifyAll();
  }
  // The message has left for the server, whole.
  bool written() {
    MutexLock lock(mu_);
    return written_;
  }
  bool done() {
    MutexLock lock(mu_);
    return done_;
  }
  absl::Status Wait() {
    MutexLock lock(mu_);
    while (!done_) changed_.Wait(mu_);
    return status_;
  }

 private:
  grpc::ClientContext context_;
  const grpc::Slice bytes_;
  grpc::ByteBuffer message_ = grpc::ByteBuffer(&bytes_, 1);
  grpc::ByteBuffer reply_;
  Mutex mu_;
  CondVar changed_;
  bool done_ LEEWAY_GUARDED_BY(mu_) = false;
  bool written_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Status status_ LEEWAY_GUARDED_BY(mu_);
};

// Calls over a connection of its own.
class Client {
 public:
  Client(const std::string& address, const std::string& name) : stub_(Channel(address, name)) {}

  Call& Start(const std::string& method, std::size_t size = 10,
              grpc_compression_algorithm packed = GRPC_COMPRESS_NONE) {
    return calls_.emplace_back(stub_, method, size, packed);
  }
  absl::Status Finish(const std::string& method) {
    Call& call = Start(method);
    call.Send();
    return call.Wait();
  }

 private:
  static std::shared_ptr<grpc::Channel> Channel(const std::string& address, const std::string& name) {
    grpc::ChannelArguments arguments;
    arguments.SetUserAgentPrefix(name);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }

  Call::Stub stub_;
  std::deque<Call> calls_;
};

TEST_CASE("Of a connection's messages some are read at a time; others wait for them, or are told to come again") {
  Handler handler;
  const std::unique_ptr<GrpcServer> server = *GrpcServer::Start("127.0.0.1:0", &handler);
  const std::string address = absl::StrCat("127.0.0.1:", server->port());
  Client client(address, "one");

  // The first calls' messages do not come. The others' are there, but it is not their turn.
  std::vector<Call*> slow;
  for (std::size_t i = 0; i < ReadTurns::kOfOne; ++i) slow.push_back(&client.Start("ParameterServer/Push"));
  while (server->reading() < slow.size()) std::this_thread::yield();
  std::vector<Call*> waiting;
  for (std::size_t i = 0; i < ReadTurns::kWaiting + 1; ++i) {
    waiting.push_back(&client.Start(i % 2 == 0 ? "ParameterServer/PushPull" : "ParameterServer/PutWeights"));
    waiting.back()->Send();
  }
  // One of them is too many; which one, the server's threads decide.
  Call* refused = nullptr;
  while (refused == nullptr) {
    for (Call* call : waiting) {
      if (call->done()) refused = call;
    }
    std::this_thread::yield();
  }
  CHECK(Says(refused->Wait(), Code::kResourceExhausted, {"calls of this connection wait"}));
  CHECK(RetryAfter(refused->Wait()) > absl::ZeroDuration());
  // Neither what carries no payload nor another connection is held up.
  CHECK(client.Finish("ParameterServer/Pull").ok());
  CHECK(Client(address, "another").Finish("ParameterServer/Push").ok());
  CHECK(handler.handled == 2);

  // Who gives up while it waits holds up nobody.
  Call* impatient = waiting[0] == refused ? waiting[1] : waiting[0];
  impatient->Cancel();
  CHECK(absl::IsCancelled(impatient->Wait()));
  for (Call* call : slow) call->Send();
  for (Call* call : slow) CHECK(call->Wait().ok());
  for (Call* call : waiting) {
    if (call != refused && call != impatient) CHECK(call->Wait().ok());
  }
  CHECK(handler.handled == 2 + slow.size() + waiting.size() - 2);
  CHECK(client.Finish("ParameterServer/Push").ok());  // the turn has been given back
}

TEST_CASE("A message that waits for its turn stays with its sender") {
  Handler handler;
  const std::unique_ptr<GrpcServer> server = *GrpcServer::Start("127.0.0.1:0", &handler);
  Client client(absl::StrCat("127.0.0.1:", server->port()), "one");
  std::vector<Call*> slow;
  for (std::size_t i = 0; i < ReadTurns::kOfOne; ++i) slow.push_back(&client.Start("ParameterServer/Push"));
  while (server->reading() < slow.size()) std::this_thread::yield();
  Call& large = client.Start("ParameterServer/Push", 3 << 20);
  large.Send();
  // As much passes over the same connection meanwhile, of messages that are read at once.
  for (int i = 0; i < 100; ++i) {
    Call& other = client.Start("ParameterServer/Pull", 32 << 10);
    other.Send();
    CHECK(other.Wait().ok());
  }
  CHECK_FALSE(large.written());
  for (Call* call : slow) call->Send();
  for (Call* call : slow) CHECK(call->Wait().ok());
  CHECK(large.Wait().ok());
  CHECK(large.written());
}

TEST_CASE("A call that ends without its message gives its turn back") {
  Handler handler;
  const std::unique_ptr<GrpcServer> server = *GrpcServer::Start("127.0.0.1:0", &handler);
  Client client(absl::StrCat("127.0.0.1:", server->port()), "one");
  for (int i = 0; i < 3; ++i) {
    Call& call = client.Start("ParameterServer/Push");
    call.Cancel();
    CHECK(absl::IsCancelled(call.Wait()));
  }
  CHECK(client.Finish("ParameterServer/Push").ok());
  CHECK(handler.handled == 1);
  CHECK(Says(client.Finish("ParameterServer/NoSuch"), Code::kUnimplemented, {"ParameterServer/NoSuch"}));
}

TEST_CASE("A packed message is refused before it is unpacked") {
  Handler handler;
  const std::unique_ptr<GrpcServer> server = *GrpcServer::Start("127.0.0.1:0", &handler);
  Client client(absl::StrCat("127.0.0.1:", server->port()), "one");
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    for (const char* method : {"Coordinator/Join", "ParameterServer/Pull", "ParameterServer/Push"}) {
      // A few KiB on their way; unpacked, four times as much as is allowed.
      Call& call = client.Start(method, 64 << 20, algorithm);
      call.Send();
      CHECK(Says(call.Wait(), Code::kUnimplemented, {"ompression"}));
      CHECK(client.Finish(method).ok());
    }
  }
  CHECK(handler.handled == 6);
}

TEST_CASE("Who stops in the middle of a message loses his turn, though his call has no deadline") {
  Handler handler;
  const std::unique_ptr<GrpcServer> server =
      *GrpcServer::Start("127.0.0.1:0", &handler, {.longest_turn = absl::Milliseconds(200)});
  const std::string address = absl::StrCat("127.0.0.1:", server->port());
  // As many as are read at once, each over a connection of its own.
  std::deque<Client> stalled;
  std::vector<Call*> calls;
  for (std::size_t i = 0; i < ReadTurns::kReading; ++i) {
    calls.push_back(&stalled.emplace_back(address, absl::StrCat("stalled", i)).Start("ParameterServer/Push"));
  }
  CHECK(Client(address, "another").Finish("ParameterServer/Push").ok());
  for (Call* call : calls) CHECK_FALSE(call->Wait().ok());
  while (server->reading() > 0) std::this_thread::yield();
  CHECK(handler.handled == 1);
}

TEST_CASE("A call that ends before it has brought its message is none: it would look like one whose fields are all 0") {
  Handler handler;
  const std::unique_ptr<GrpcServer> server = *GrpcServer::Start("127.0.0.1:0", &handler);
  Client client(absl::StrCat("127.0.0.1:", server->port()), "dying");
  for (const char* method : {"Coordinator/SetPolicy", "ParameterServer/Pull", "ParameterServer/Push"}) {
    Call& call = client.Start(method);
    call.EndWithoutMessage();
    CHECK(Says(call.Wait(), Code::kInvalidArgument, {"ended before it had brought a message"}));
  }
  CHECK(handler.handled == 0);
  // A message of no bytes is one.
  Call& empty = client.Start("Coordinator/GetStatus", 0);
  empty.Send();
  CHECK(empty.Wait().ok());
  CHECK(handler.handled == 1);
}

}  // namespace
}  // namespace leeway
