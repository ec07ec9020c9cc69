#include "tests/support/transport_suite.h"

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/codec.h"
#include "common/retry.h"
#include "common/rpc.h"
#include "proto/parameter_server.pb.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

constexpr char kHeld[] = "ParameterServer/PutWeights";

std::string Pattern(std::size_t size, std::size_t seed) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + (i >> 12) + seed);
  return bytes;
}

// Calls from several threads at once, small and large, each with bytes of its own.
void CheckManyAtOnce(Transport& transport, const std::string& address) {
  constexpr std::size_t kThreads = 4, kCalls = 25;
  std::vector<absl::Status> ends(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kCalls; ++i) {
        const std::size_t seed = t * kCalls + i;
        const std::size_t size = i % 3 == 0 ? seed : (seed * 7919) % 300'000;
        ends[t].Update(PushPullThere(transport, address, seed, Pattern(size, seed)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& end : ends) CHECK(end == absl::OkStatus());
}

void CheckCancelledAtTheEnd(std::unique_ptr<Transport> transport, const std::string& address,
                            ScriptedHandler& handler) {
  Mutex mu;
  std::vector<absl::Status> ends;
  for (int i = 0; i < 3; ++i) {
    transport->Call(address, kHeld, {}, absl::Seconds(30), [&](absl::Status status, const Buffer&) {
      MutexLock lock(mu);
      ends.push_back(std::move(status));
    });
  }
  handler.AwaitHeld(3);
  transport.reset();
  MutexLock lock(mu);
  REQUIRE(ends.size() == 3);
  for (const absl::Status& status : ends) CHECK(absl::IsCancelled(status));
  handler.Release(absl::OkStatus());
}

void CheckAnswersBeforeShutdown(Transport& transport, const ServerUnderTest& server, ScriptedHandler& handler) {
  CallResult result;
  std::thread caller([&] { result = CallAndWait(transport, server.address, kHeld, {}); });
  handler.AwaitHeld(1);
  std::thread stopper(server.shutdown);
  handler.Release(absl::UnavailableError("shutting down"));
  stopper.join();
  caller.join();
  CHECK(Says(result.status, Code::kUnavailable, {"shutting down"}));
  CHECK(absl::IsUnavailable(CallAndWait(transport, server.address, "ParameterServer/Push", {}).status));
}

}  // namespace

void ScriptedHandler::Handle(const std::string& method, Buffer request, ReplyCallback done) {
  if (method == "ParameterServer/PushPull") {
    Decoded<v1::PushPullRequest> decoded;
    if (absl::Status status = DecodeMessage(request, &decoded.message, &decoded.payload); !status.ok()) {
      return done(status, {});
    }
    v1::PushPullReply reply;
    reply.mutable_push()->set_version(decoded.message.push().clock());
    return done(absl::OkStatus(), EncodeMessage(reply, decoded.payload));
  }
  if (method == "ParameterServer/Push") return done(WithRetryAfter(absl::ResourceExhaustedError("full"), kDelay), {});
  if (method == kHeld) {
    MutexLock lock(mu_);
    held_.push_back(std::move(done));
    return;
  }
  done(absl::FailedPreconditionError("called " + method), {});
}

std::size_t ScriptedHandler::held() {
  MutexLock lock(mu_);
  return held_.size();
}

void ScriptedHandler::AwaitHeld(std::size_t count) {
  while (held() < count) std::this_thread::yield();
}

void ScriptedHandler::Release(const absl::Status& status) {
  std::vector<ReplyCallback> held;
  {
    MutexLock lock(mu_);
    held = std::exchange(held_, {});
  }
  for (const ReplyCallback& done : held) done(status, EncodeMessage(v1::PutWeightsReply()));
}

CallResult CallAndWait(Transport& transport, const std::string& address, const std::string& method,
                       const Buffer& request, absl::Duration timeout) {
  Mutex mu;
  CondVar changed;
  bool done = false;
  CallResult result;
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

absl::Status PushPullThere(Transport& transport, const std::string& address, std::uint64_t clock,
                           const std::string& bytes) {
  v1::PushPullRequest request;
  request.mutable_push()->set_clock(clock);
  const CallResult result =
      CallAndWait(transport, address, "ParameterServer/PushPull", EncodeMessage(request, Buffer::FromString(bytes)));
  if (!result.status.ok()) return result.status;
  Decoded<v1::PushPullReply> reply;
  absl::Status status = DecodeMessage(result.reply, &reply.message, &reply.payload);
  if (status.ok() && (reply.message.push().version() != clock || reply.payload.ToString() != bytes)) {
    status = absl::DataLossError(absl::StrCat("call ", clock, ": other bytes came back"));
  }
  return status;
}

void CheckTransport(const Carrier& carrier) {
  ScriptedHandler handler;
  const ServerUnderTest server = carrier.serve(&handler);
  std::unique_ptr<Transport> transport = carrier.transport();

  SECTION("a message with a payload of 16 MiB goes there and back") {
    CHECK(PushPullThere(*transport, server.address, 42, Pattern(16 << 20, 0)) == absl::OkStatus());
  }
  SECTION("many calls at once, from several threads") { CheckManyAtOnce(*transport, server.address); }
  SECTION("a method reaches the handler under its name, and errors come back with their code and message") {
    const absl::Status status = CallAndWait(*transport, server.address, "Coordinator/Join", {}).status;
    CHECK(status == absl::FailedPreconditionError("called Coordinator/Join"));
  }
  SECTION("the delay a server asks for reaches the client") {
    const absl::Status status = CallAndWait(*transport, server.address, "ParameterServer/Push", {}).status;
    CHECK(Says(status, Code::kResourceExhausted, {"full"}));
    CHECK(RetryAfter(status) == ScriptedHandler::kDelay);
  }
  SECTION("a deadline ends a call that is held; the connection lives on") {
    const absl::Status late = CallAndWait(*transport, server.address, kHeld, {}, absl::Milliseconds(200)).status;
    CHECK(Says(late, Code::kDeadlineExceeded, {server.address.c_str()}));
    handler.Release(absl::OkStatus());  // its answer finds nobody
    CHECK(PushPullThere(*transport, server.address, 1, "x") == absl::OkStatus());
  }
  SECTION("an unreachable server is named") {
    const absl::Status nobody = CallAndWait(*transport, carrier.nobody, "ParameterServer/Push", {}).status;
    CHECK(Says(nobody, Code::kUnavailable, {carrier.nobody.c_str()}));
  }
  SECTION("the transport's end cancels what is under way and waits for it") {
    CheckCancelledAtTheEnd(std::move(transport), server.address, handler);
  }
  SECTION("Shutdown waits for the handler's answers, and they arrive") {
    CheckAnswersBeforeShutdown(*transport, server, handler);
  }
  server.shutdown();
}

}  // namespace leeway
