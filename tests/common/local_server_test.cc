// The server of local sockets against clients that break the rules.
#include "common/local_server.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/frame.h"
#include "common/local_socket.h"
#include "common/local_transport.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"
#include "tests/support/transport_suite.h"

namespace leeway {
namespace {

std::string NewAddress() { return absl::StrCat("local:leeway-test-", std::random_device()()); }

// A client without manners.
class Rude {
 public:
  explicit Rude(const std::string& address) {
    absl::StatusOr<int> socket = ConnectLocal(address);
    while (!socket.ok()) {  // the queue of those to be accepted is full
      std::this_thread::yield();
      socket = ConnectLocal(address);
    }
    socket_ = *socket;
  }
  ~Rude() { close(socket_); }
  Rude(const Rude&) = delete;
  Rude& operator=(const Rude&) = delete;

  // The server may have gone: then nothing is sent.
  void Send(const void* bytes, std::size_t size) { (void)send(socket_, bytes, size, MSG_NOSIGNAL); }
  void Send(const FrameHeader& header) { Send(&header, sizeof(header)); }
  void Request(std::uint64_t call, const std::string& method) {
    const Frame frame = RequestFrame(call, method, {});
    Send(frame.header);
    Send(method.data(), method.size());
  }
  void NoMore() { shutdown(socket_, SHUT_WR); }

  // Reads until the server closes the connection; how many bytes came.
  std::size_t UntilClosed() {
    char bytes[4096];
    std::size_t all = 0;
    for (ssize_t got; (got = recv(socket_, bytes, sizeof(bytes), 0)) > 0;) all += static_cast<std::size_t>(got);
    return all;
  }
  Frame ReadReply() {
    Frame reply;
    REQUIRE(recv(socket_, &reply.header, sizeof(reply.header), MSG_WAITALL) == sizeof(reply.header));
    REQUIRE(CheckHeader(reply.header, FrameHeader::kReply).ok());
    reply.text.resize(reply.header.text);
    std::string body(reply.header.body, '\0');
    if (!reply.text.empty()) REQUIRE(recv(socket_, reply.text.data(), reply.text.size(), MSG_WAITALL) > 0);
    if (!body.empty()) REQUIRE(recv(socket_, body.data(), body.size(), MSG_WAITALL) == ssize_t(body.size()));
    return reply;
  }

 private:
  int socket_ = -1;
};

// While it lives, the system gives nobody a new thread: no stack of that size fits.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    REQUIRE(pthread_getattr_default_np(&before_) == 0);
    pthread_attr_t huge = before_;
    REQUIRE(pthread_attr_setstacksize(&huge, std::size_t{1} << 47) == 0);
    REQUIRE(pthread_setattr_default_np(&huge) == 0);
  }
  ~NoMoreThreads() { pthread_setattr_default_np(&before_); }
  NoMoreThreads(const NoMoreThreads&) = delete;
  NoMoreThreads& operator=(const NoMoreThreads&) = delete;

 private:
  pthread_attr_t before_;
};

// While it lives, the process gets no more than `bytes` of further memory.
class LittleMemory {
 public:
  explicit LittleMemory(std::size_t bytes) {
    REQUIRE(getrlimit(RLIMIT_AS, &before_) == 0);
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit now{pages * static_cast<std::size_t>(getpagesize()) + bytes, before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_AS, &now) == 0);
  }
  ~LittleMemory() { setrlimit(RLIMIT_AS, &before_); }
  LittleMemory(const LittleMemory&) = delete;
  LittleMemory& operator=(const LittleMemory&) = delete;

 private:
  rlimit before_{};
};

struct Served {
  ScriptedHandler handler;
  const std::string address = NewAddress();
  const std::unique_ptr<LocalServer> server = *LocalServer::Start(address, &handler);
  const std::unique_ptr<Transport> transport = MakeLocalTransport();

  absl::Status Honest() { return PushPullThere(*transport, address, 7, std::string(200'000, 'h')); }
};

TEST_CASE("A frame that is none closes its connection, and disturbs no other") {
  Served served;
  CHECK(served.Honest() == absl::OkStatus());
  FrameHeader header = RequestFrame(1, "", {}).header;
  SECTION("another magic") { header.magic += 1; }
  SECTION("a reply") { header.kind = FrameHeader::kReply; }
  SECTION("no kind") { header.kind = 77; }
  SECTION("no status code") { header.code = 17; }
  SECTION("a huge message") { header.body = FrameHeader::kMaxBody + 1; }
  SECTION("a huge name") { header.text = FrameHeader::kMaxText + 1; }
  Rude rude(served.address);
  rude.Send(header);
  CHECK(rude.UntilClosed() == 0);
  CHECK(served.Honest() == absl::OkStatus());
}

TEST_CASE("Half a frame ends with its connection, and is not handled") {
  Served served;
  Frame frame = RequestFrame(1, "ParameterServer/PutWeights", {});
  frame.header.body = 1000;
  std::string bytes(reinterpret_cast<const char*>(&frame.header), sizeof(frame.header));
  bytes += frame.text + std::string(999, 'b');
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{23}, std::size_t{24}, std::size_t{30},
                                 std::size_t{24} + frame.text.size(), bytes.size()}) {
    Rude rude(served.address);
    rude.Send(bytes.data(), size);
    rude.NoMore();
    CHECK(rude.UntilClosed() == 0);
  }
  CHECK(served.handler.held() == 0);
  CHECK(served.Honest() == absl::OkStatus());
}

TEST_CASE("Random bytes, with and without a true beginning, disturb nobody") {
  Served served;
  Random random(TestSeed());
  for (int i = 0; i < 300; ++i) {
    Rude rude(served.address);
    std::string bytes(random.Below(9000), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.Bits());
    FrameHeader header = RequestFrame(random.Bits(), "", {}).header;
    header.text = static_cast<std::uint16_t>(random.Below(FrameHeader::kMaxText));
    header.body = static_cast<std::uint32_t>(random.Below(FrameHeader::kMaxBody));
    if (random.Chance(0.5)) rude.Send(header);
    rude.Send(bytes.data(), bytes.size());
    if (random.Chance(0.5)) continue;  // gone without a word
    rude.NoMore();
    rude.UntilClosed();
  }
  CHECK(served.Honest() == absl::OkStatus());
}

TEST_CASE("An unknown method gets the handler's answer") {
  Served served;
  Rude rude(served.address);
  rude.Request(5, "No/Such");
  const Frame reply = rude.ReadReply();
  CHECK(reply.header.call == 5);
  CHECK(StatusOf(reply) == absl::FailedPreconditionError("called No/Such"));
}

TEST_CASE("Of a thousand connections as many as are allowed stay; when they go, others come") {
  constexpr std::size_t kMany = 1000;
  Served served;
  {
    std::vector<std::unique_ptr<Rude>> crowd;
    for (std::size_t i = 0; i < kMany; ++i) crowd.push_back(std::make_unique<Rude>(served.address));
    // They are admitted in their order.
    for (std::size_t i = LocalServer::kMaxConnections; i < kMany; ++i) CHECK(crowd[i]->UntilClosed() == 0);
    Rude& last = *crowd[LocalServer::kMaxConnections - 1];
    last.Request(1, "a");
    CHECK(last.ReadReply().header.call == 1);
    CHECK(absl::IsUnavailable(served.Honest()));
  }
  while (!served.Honest().ok()) std::this_thread::yield();  // until the server has seen them go
}

TEST_CASE("More calls than a connection may have are refused with a delay; those before are answered") {
  Served served;
  Rude rude(served.address);
  for (std::size_t i = 0; i < LocalServer::kMaxCalls; ++i) rude.Request(i, "ParameterServer/PutWeights");
  served.handler.AwaitHeld(LocalServer::kMaxCalls);
  rude.Request(1 << 20, "ParameterServer/PutWeights");
  const Frame refused = rude.ReadReply();
  CHECK(refused.header.call == 1 << 20);
  CHECK(absl::IsResourceExhausted(StatusOf(refused)));
  CHECK(refused.header.retry_after_millis > 0);
  served.handler.Release(absl::OkStatus());
  for (std::size_t i = 0; i < LocalServer::kMaxCalls; ++i) CHECK(StatusOf(rude.ReadReply()).ok());
}

TEST_CASE("Who does not read its answers is not read from; its answers wait within the limit") {
  class Generous final : public RequestHandler {
   public:
    void Handle(const std::string&, Buffer, ReplyCallback done) override {
      ++calls;
      done(absl::OkStatus(), megabyte_);
    }
    std::atomic<std::size_t> calls = 0;

   private:
    const Buffer megabyte_ = Buffer::FromString(std::string(1 << 20, 'm'));
  } handler;
  constexpr std::size_t kCalls = 100;
  // What waits in the server, one more, and what the socket holds (twice what it was asked for).
  constexpr std::size_t kAhead = (LocalServer::kPauseAbove >> 20) + 1 + 4;
  const std::string address = NewAddress();
  const auto server = *LocalServer::Start(address, &handler);
  Rude rude(address);
  for (std::size_t i = 0; i < kCalls; ++i) rude.Request(i, "m");
  while (handler.calls < LocalServer::kPauseAbove >> 20) std::this_thread::yield();
  for (std::size_t i = 0; i < kCalls; ++i) {
    CHECK(handler.calls <= i + kAhead);
    CHECK(rude.ReadReply().header.body == 1 << 20);
  }
  CHECK(handler.calls == kCalls);
}

TEST_CASE("Without a thread a connection is closed, a call is UNAVAILABLE; with threads again both work") {
  Served served;
  {
    const NoMoreThreads none;
    Rude rude(served.address);
    CHECK(rude.UntilClosed() == 0);
    const absl::Status status = served.Honest();
    CHECK(Says(status, absl::StatusCode::kUnavailable, {served.address.c_str(), "no thread"}));
  }
  CHECK(served.Honest() == absl::OkStatus());
}

TEST_CASE("Without memory for a message its connection is closed, and the server lives on") {
  Served served;
  CHECK(served.Honest() == absl::OkStatus());
  Frame frame = RequestFrame(1, "", {});
  frame.header.body = 16 << 20;
  {
    Rude rude(served.address);
    rude.Request(1, "a");
    rude.ReadReply();  // its threads run
    const LittleMemory little(8 << 20);
    rude.Send(frame.header);
    rude.Send(std::string(64 << 10, 'b').data(), 64 << 10);
    rude.UntilClosed();
  }
  CHECK(served.Honest() == absl::OkStatus());
}

TEST_CASE("Who has connected but was not accepted is let go at the server's end") {
  ScriptedHandler handler;
  for (int i = 0; i < 100; ++i) {
    const std::string address = NewAddress();
    const auto server = *LocalServer::Start(address, &handler);
    Rude late(address);
    server->Shutdown();
    CHECK(late.UntilClosed() == 0);
  }
}

TEST_CASE("The server's end cuts off nobody who is answered, and does not wait for the dead") {
  ScriptedHandler handler;
  const std::string address = NewAddress();
  auto server = *LocalServer::Start(address, &handler);
  {
    Rude gone(address);
    gone.Request(1, "ParameterServer/PutWeights");
    handler.AwaitHeld(1);
  }
  Rude idle(address);
  server->Shutdown();
  CHECK(idle.UntilClosed() == 0);
  server.reset();
  handler.Release(absl::OkStatus());  // its answer finds nobody
}

}  // namespace
}  // namespace leeway
