// The transport over local sockets: what every transport promises, and what happens when the other end fails.
#include "common/local_transport.h"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/codec.h"
#include "common/frame.h"
#include "common/local_server.h"
#include "common/local_socket.h"
#include "common/retry.h"
#include "proto/parameter_server.pb.h"
#include "tests/catch.h"
#include "tests/support/local_listener.h"
#include "tests/support/status_check.h"
#include "tests/support/transport_suite.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

std::string NewAddress() { return absl::StrCat("local:leeway-test-", std::random_device()()); }

TEST_CASE("Local: what every transport promises") {
  CheckTransport({[](RequestHandler* handler) {
                    const std::string address = NewAddress();
                    const std::shared_ptr<LocalServer> server = *LocalServer::Start(address, handler);
                    return ServerUnderTest{address, [server] { server->Shutdown(); }};
                  },
                  [] { return MakeLocalTransport(); }, NewAddress()});
}

TEST_CASE("Local: a name that is taken, or is none") {
  ScriptedHandler handler;
  const std::string address = NewAddress();
  auto server = *LocalServer::Start(address, &handler);
  CHECK(Says(LocalServer::Start(address, &handler).status(), Code::kUnavailable,
             {address.c_str(), "Address already in use"}));
  CHECK(Says(LocalServer::Start("127.0.0.1:0", &handler).status(), Code::kInvalidArgument, {"127.0.0.1:0"}));
  server->Shutdown();
  server.reset();
  CHECK(Says(ProbeLocalSocket(address), Code::kUnavailable, {"Connection refused"}));
  CHECK(LocalServer::Start(address, &handler).ok());
}

TEST_CASE("Local: after a server's end the next one of that name is found") {
  ScriptedHandler handler;
  const std::string address = NewAddress();
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  for (int i = 0; i < 3; ++i) {
    const auto server = *LocalServer::Start(address, &handler);
    for (const std::size_t size : {1, 1 << 20}) {
      const std::string bytes(size, 'x');
      absl::Status status = PushPullThere(*transport, address, 1, bytes);
      // Until the transport has seen the end of its connection to the last one.
      while (absl::IsUnavailable(status)) status = PushPullThere(*transport, address, 2, bytes);
      CHECK(status == absl::OkStatus());
    }
  }
  CHECK(absl::IsUnavailable(PushPullThere(*transport, address, 3, "x")));
}

std::ptrdiff_t OpenDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

TEST_CASE("Local: of servers that are gone no socket stays") {
  ScriptedHandler handler;
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  std::ptrdiff_t first = 0;
  for (int i = 0; i < 6; ++i) {  // as a `ps` that comes back, each time under a name of its own
    const std::string address = NewAddress();
    const auto server = *LocalServer::Start(address, &handler);
    for (const std::size_t size : {1, 1 << 20}) {
      CHECK(PushPullThere(*transport, address, 1, std::string(size, 'x')) == absl::OkStatus());
    }
    if (i == 0) first = OpenDescriptors();
    server->Shutdown();
    while (!absl::IsUnavailable(PushPullThere(*transport, address, 2, "x"))) {
    }
  }
  // The last ones may still be there.
  CHECK(OpenDescriptors() <= first);
}

// Says where the payload of a push lies.
class WhereItLies final : public RequestHandler {
 public:
  void Handle(const std::string&, Buffer request, ReplyCallback done) override {
    v1::PushRequest push;
    Buffer payload;
    absl::Status status = DecodeMessage(request, &push, &payload);
    slices = payload.slices().size();
    address = reinterpret_cast<std::uintptr_t>(payload.slices().at(0).data);
    done(std::move(status), {});
  }
  std::size_t slices = 0;
  std::uintptr_t address = 1;
};

TEST_CASE("Local: the floats of a push arrive in one piece and aligned, whatever the header") {
  WhereItLies handler;
  const std::string address = NewAddress();
  const auto server = *LocalServer::Start(address, &handler);
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  for (const std::size_t floats : {16, 4096, 1 << 20}) {
    for (const std::uint64_t clock : {0, 1, 300, 1 << 30}) {
      v1::PushRequest push;
      push.set_clock(clock);
      const Buffer request = EncodeMessage(push, Buffer::FromString(std::string(4 * floats, 'f')));
      REQUIRE(CallAndWait(*transport, address, "ParameterServer/Push", request).status.ok());
      CHECK(handler.slices == 1);
      CHECK(handler.address % 64 == 0);
    }
  }
}

TEST_CASE("Local: messages that are too long are refused, and the connection lives on") {
  class TooMuch final : public RequestHandler {
    void Handle(const std::string& method, Buffer, ReplyCallback done) override {
      if (method == "text") return done(absl::InternalError(std::string(100'000, 'e')), {});
      done(absl::OkStatus(), Buffer::FromString(std::string(FrameHeader::kMaxBody + 1, 'x')));
    }
  } handler;
  const std::string address = NewAddress();
  const auto server = *LocalServer::Start(address, &handler);
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  const Buffer longest = Buffer::FromString(std::string(FrameHeader::kMaxBody, 'x'));
  Buffer longer = longest;
  longer.Append(Buffer::FromString("x"));
  const std::string longer_size = absl::StrCat(FrameHeader::kMaxBody + 1);
  const std::string most = absl::StrCat(FrameHeader::kMaxBody);
  CHECK(Says(CallAndWait(*transport, address, "m", longer).status, Code::kResourceExhausted,
             {longer_size.c_str(), "at most"}));
  CHECK(Says(CallAndWait(*transport, address, "m", longest).status, Code::kResourceExhausted,
             {longer_size.c_str(), most.c_str()}));
  CHECK(absl::IsInvalidArgument(CallAndWait(*transport, address, std::string(4097, 'm'), {}).status));
  const absl::Status cut = CallAndWait(*transport, address, "text", {}).status;
  CHECK(cut == absl::InternalError(std::string(FrameHeader::kMaxText, 'e')));
}

TEST_CASE("Local: a lost connection is told from a server that answers UNAVAILABLE") {
  class NotNow final : public RequestHandler {
    void Handle(const std::string&, Buffer, ReplyCallback done) override {
      done(absl::UnavailableError("not now"), {});
    }
  } handler;
  const std::string address = NewAddress();
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  CHECK(IsLostConnection(CallAndWait(*transport, address, "m", {}).status));  // nobody listens
  const auto server = *LocalServer::Start(address, &handler);
  const absl::Status answered = CallAndWait(*transport, address, "m", {}).status;
  CHECK(answered == absl::UnavailableError("not now"));
  CHECK_FALSE(IsLostConnection(answered));
}

// Accepts one connection and lets a test play the server.
class ByHand {
 public:
  ByHand() { REQUIRE(listener_.ok()); }
  ~ByHand() { Close(); }
  std::string address() const { return listener_.address(); }
  void Accept() { socket_ = accept(listener_.fd(), nullptr, nullptr); }
  void NoMore() const { shutdown(socket_, SHUT_WR); }
  void Close() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
  // For threads, which must not use Catch's macros: what fails shows in the calls' ends.
  FrameHeader ReadHeader() const {
    FrameHeader header;
    (void)recv(socket_, &header, sizeof(header), MSG_WAITALL);
    return header;
  }
  void Send(const void* bytes, std::size_t size) const { (void)send(socket_, bytes, size, MSG_NOSIGNAL); }

 private:
  LocalListener listener_;
  int socket_ = -1;
};

TEST_CASE("Local: when the server dies, all calls under way end as UNAVAILABLE, with its address") {
  ByHand server;
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  std::thread killer([&server] {
    server.Accept();
    server.ReadHeader();
    server.Close();
  });
  const absl::Status status = CallAndWait(*transport, server.address(), "ParameterServer/Pull", {}).status;
  killer.join();
  CHECK(Says(status, Code::kUnavailable, {server.address().c_str(), "ended"}));
  CHECK(IsLostConnection(status));
}

TEST_CASE("Local: a server that speaks nonsense is left, and nobody waits for it") {
  const std::string nonsense = GENERATE(std::string(24, '\0'), std::string(4096, '\xff'), std::string("LW"));
  ByHand server;
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  std::thread liar([&] {
    server.Accept();
    server.ReadHeader();
    server.Send(nonsense.data(), nonsense.size());
    server.NoMore();
  });
  const absl::Status status = CallAndWait(*transport, server.address(), "ParameterServer/Pull", {}).status;
  liar.join();
  CHECK(absl::IsUnavailable(status));
}

TEST_CASE("Local: an answer that nobody waits for, or no longer, is dropped") {
  ByHand server;
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  std::thread answers([&] {
    server.Accept();
    FrameHeader reply = server.ReadHeader();
    reply.kind = FrameHeader::kReply;
    reply.text = 0;
    FrameHeader stray = reply;
    stray.call += 1000;
    server.Send(&stray, sizeof(stray));
    server.Send(&reply, sizeof(reply));
    server.Send(&reply, sizeof(reply));
  });
  const absl::Status status = CallAndWait(*transport, server.address(), "", {}).status;
  answers.join();
  CHECK(status == absl::OkStatus());
}

TEST_CASE("Local: after a deadline nobody reads the request's bytes, however far they got") {
  ByHand server;  // reads nothing: the first request stays half written, the second waits behind it
  const std::unique_ptr<Transport> transport = MakeLocalTransport();
  Mutex mu;
  CondVar changed;
  int ended = 0;
  std::weak_ptr<std::string> bytes[2];
  bool held[2] = {true, true};
  absl::Status ends[2];
  for (int i : {0, 1}) {
    auto owner = std::make_shared<std::string>(16 << 20, 'x');
    bytes[i] = owner;
    const Buffer request = Buffer::Wrap(owner, owner->data(), owner->size());
    owner.reset();
    // The second ends first: it is taken from the queue, and the connection stays.
    transport->Call(server.address(), "m", request, absl::Milliseconds(i == 0 ? 400 : 100),
                    [&, i](absl::Status status, const Buffer&) {
                      MutexLock lock(mu);
                      ends[i] = std::move(status);
                      held[i] = !bytes[i].expired();
                      ++ended;
                      changed.NotifyAll();
                    });
  }
  MutexLock lock(mu);
  while (ended < 2) changed.Wait(mu);
  for (int i : {0, 1}) {
    CHECK(absl::IsDeadlineExceeded(ends[i]));
    CHECK_FALSE(held[i]);
  }
}

TEST_CASE("Local: a callback that calls again at the transport's end is told") {
  ScriptedHandler handler;
  const std::string address = NewAddress();
  const auto server = *LocalServer::Start(address, &handler);
  std::unique_ptr<Transport> transport = MakeLocalTransport();
  Transport* const again = transport.get();
  std::atomic<bool> told = false;
  transport->Call(address, "ParameterServer/PutWeights", {}, absl::Seconds(30),
                  [&](const absl::Status&, const Buffer&) {
                    again->Call(address, "ParameterServer/PutWeights", {}, absl::Seconds(30),
                                [&](const absl::Status& status, const Buffer&) { told = absl::IsCancelled(status); });
                  });
  handler.AwaitHeld(1);
  transport.reset();
  CHECK(told);
  handler.Release(absl::OkStatus());
}

}  // namespace
}  // namespace leeway
