#include "worker/client/caller.h"

#include <future>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/support/fake_clock.h"
#include "tests/support/local_listener.h"
#include "tests/support/pumped_executor.h"
#include "tests/worker/client/held_calls.h"
#include "tests/worker/client/runtime.h"

namespace leeway {
namespace {

// Answers by script: the n-th call (from 0) gets answer(n).
class ScriptedTransport : public Transport {
 public:
  explicit ScriptedTransport(std::function<absl::Status(int)> answer) : answer_(std::move(answer)) {}
  void Call(const std::string& address, const std::string&, Buffer request, absl::Duration,
            ReplyCallback done) override {
    last_address = address;
    addresses.push_back(address);
    done(answer_(calls++), std::move(request));
  }
  std::atomic<int> calls = 0;
  std::string last_address;
  std::vector<std::string> addresses;  // one call at a time

 private:
  std::function<absl::Status(int)> answer_;
};

absl::Status CallAndWait(Caller& caller, Target target, std::string* reply = nullptr) {
  std::promise<absl::Status> answered;
  caller.CallBytes(target, "Service/Method", Buffer::FromString("hello"),
                   [&](absl::Status status, Buffer bytes) {
                     if (reply != nullptr) *reply = bytes.ToString();
                     answered.set_value(std::move(status));
                   },
                   {});
  return answered.get_future().get();
}

TEST_CASE("A call is tried again until it succeeds; the request is the same each time") {
  ScriptedTransport transport([](int n) -> absl::Status {
    if (n == 0) return absl::UnavailableError("gone");
    if (n == 1) return absl::DeadlineExceededError("slow");
    if (n == 2) return WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Milliseconds(5));
    return absl::OkStatus();
  });
  Runtime runtime(transport);
  runtime.caller.SetShardAddresses({"a:1", "b:2"});
  std::string reply;
  CHECK(CallAndWait(runtime.caller, 1, &reply).ok());
  CHECK(reply == "hello");
  CHECK(transport.calls == 4);
  CHECK(runtime.caller.retries() == 3);
  CHECK(transport.last_address == "b:2");
}

TEST_CASE("What another attempt cannot change is handed on at once") {
  for (const absl::Status& error : {absl::FailedPreconditionError("f"), absl::InvalidArgumentError("i"),
                                    absl::AbortedError("a"), absl::InternalError("x")}) {
    ScriptedTransport transport([&](int) { return error; });
    Runtime runtime(transport);
    CHECK(CallAndWait(runtime.caller, kCoordinator) == error);
    CHECK(transport.calls == 1);
  }
}

TEST_CASE("After the limit it gives up, and says on whom, where and why") {
  ScriptedTransport transport([](int) { return absl::UnavailableError("connection refused"); });
  Runtime runtime(transport, absl::Milliseconds(150));
  const absl::Status status = CallAndWait(runtime.caller, kCoordinator);
  CHECK(absl::IsUnavailable(status));
  const std::string message(status.message());
  CHECK(message.find("the coordinator at coordinator:1") != std::string::npos);
  CHECK(message.find("connection refused") != std::string::npos);
}

TEST_CASE("A unix socket that fails is given up for TCP until the next address book") {
  const LocalListener server;
  REQUIRE(server.ok());
  ScriptedTransport transport([](int n) -> absl::Status {
    if (n == 0) return absl::DeadlineExceededError("slow");  // as slow over TCP: the same process answers
    if (n == 1) return absl::UnavailableError("the journal cannot be written");  // the shard's own word
    if (n == 2) return LostConnection("connection reset");
    return absl::OkStatus();
  });
  Runtime runtime(transport);
  v1::LocalEndpoint endpoint;
  endpoint.set_host("here");
  endpoint.set_address(server.address());
  runtime.caller.UseLocalSockets("here");
  runtime.caller.SetShardAddresses({"a:1"}, {endpoint});
  CHECK(runtime.caller.Describe(0) == "shard 0 at a:1");
  CHECK(CallAndWait(runtime.caller, 0).ok());
  CHECK(CallAndWait(runtime.caller, 0).ok());
  CHECK(transport.addresses ==
        std::vector<std::string>{server.address(), server.address(), server.address(), "a:1", "a:1"});
  runtime.caller.SetShardAddresses({"a:1"}, {endpoint});
  CHECK(CallAndWait(runtime.caller, 0).ok());
  CHECK(transport.addresses.back() == server.address());
  CHECK(CallAndWait(runtime.caller, kCoordinator).ok());
  CHECK(transport.addresses.back() == FakeCluster::kCoordinatorAddress);
}

TEST_CASE("After Stop, calls are cancelled and the transport is left alone") {
  ScriptedTransport transport([](int) { return absl::OkStatus(); });
  Runtime runtime(transport);
  runtime.caller.Stop();
  CHECK(absl::IsCancelled(CallAndWait(runtime.caller, kCoordinator)));
  CHECK(transport.calls == 0);
}

TEST_CASE("A server is given up by the time since its silence began, not since that was noticed") {
  HeldCalls transport;
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller(transport, clock, executor, FakeCluster::kCoordinatorAddress, absl::Seconds(30), 1);
  caller.SetShardAddresses({"a:1", "b:2"});
  absl::Status end;
  caller.CallBytes(1, "Service/Method", Buffer(), [&](const absl::Status& status, const Buffer&) { end = status; }, {});
  for (int attempt = 0; attempt < 2; ++attempt) {
    REQUIRE(transport.calls.size() == 1);
    CHECK(end.ok());
    clock.Advance(absl::Seconds(20));
    transport.Answer(absl::DeadlineExceededError("no answer"));
    executor.RunAll();
    CHECK(caller.LastTrouble(1).status == absl::DeadlineExceededError("no answer"));
    CHECK(caller.LastTrouble(1).at == clock.Now());
    clock.Advance(absl::Seconds(1));  // the next attempt
    executor.RunAll();
  }
  CHECK(end == absl::UnavailableError("gave up on shard 1 at b:2 after 41s: no answer"));
  CHECK(caller.LastTrouble(0).status.ok());
  CHECK(caller.LastTrouble(kCoordinator).status.ok());
  caller.Stop();
}

TEST_CASE("Large messages that were late are sent again by half as many at once; who waits may be wanted no more") {
  HeldCalls transport;
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller(transport, clock, executor, FakeCluster::kCoordinatorAddress, absl::InfiniteDuration(), 1);
  caller.SetShardAddresses({"a:1"});
  bool wanted = true;
  std::vector<absl::Status> ended;
  const auto answer_all = [&](const absl::Status& status) {
    for (std::size_t left = transport.calls.size(); left > 0; --left) transport.Answer(status);
    executor.RunAll();
    clock.Advance(absl::Seconds(3));  // longer than any backoff
    executor.RunAll();
  };
  const auto call = [&] {
    REQUIRE(caller.MayStart(Caller::Load::kUp, [] {}));
    caller.CallBytes(0, "Service/Method", Buffer(),
                     [&](const absl::Status& status, const Buffer&) { ended.push_back(status); },
                     {.wanted = [&wanted] { return wanted; }, .load = Caller::Load::kUp});
  };
  for (int i = 0; i < 2; ++i) {
    call();
    answer_all(absl::OkStatus());
  }
  ended.clear();
  for (int i = 0; i < 4; ++i) call();
  REQUIRE(transport.calls.size() == 4);
  clock.Advance(Caller::kAttempt);
  answer_all(absl::DeadlineExceededError("late"));
  CHECK(transport.calls.size() == 2);
  // The other way there is room, and for what is small.
  CHECK(caller.MayStart(Caller::Load::kDown, [] {}));
  caller.CallBytes(0, "Service/Method", Buffer(), [](const absl::Status&, const Buffer&) {}, {});
  REQUIRE(transport.calls.size() == 3);
  transport.calls.pop_back();
  clock.Advance(Caller::kAttempt);
  answer_all(absl::DeadlineExceededError("late"));
  REQUIRE(transport.calls.size() == 1);
  // It is answered, quickly: two more go.
  answer_all(absl::OkStatus());
  REQUIRE(ended == std::vector{absl::OkStatus()});
  CHECK(transport.calls.size() == 2);
  wanted = false;
  answer_all(absl::UnavailableError("away"));
  CHECK(ended == std::vector{absl::OkStatus(), absl::DeadlineExceededError("late"), absl::UnavailableError("away"),
                             absl::UnavailableError("away")});
  CHECK(transport.calls.empty());
  caller.Stop();
}

// Another time for each who asks.
class CountingClock : public Clock {
 public:
  Instant Now() const override { return {++asked}; }
  std::uint64_t RunAt(Instant, std::function<void()>) override { return static_cast<std::uint64_t>(++asked); }
  bool Cancel(std::uint64_t) override { return false; }
  void Stop() override {}
  mutable std::atomic<std::int64_t> asked = 0;
};

// Who ends a process ends the clock before the executor, which still has the answers to the last calls.
TEST_CASE("After Stop, answers to calls that were under way leave the clock alone, and so does who hears of them") {
  HeldCalls transport;
  CountingClock clock;
  const std::unique_ptr<Executor> executor = MakeThreadPool(1);
  Caller caller(transport, clock, *executor, FakeCluster::kCoordinatorAddress, absl::Minutes(1), 1);
  std::vector<Instant> heard;
  for (int i = 0; i < 2; ++i) {
    caller.CallBytes(kCoordinator, "Service/Method", Buffer(),
                     [&](const absl::Status&, const Buffer&) { heard.push_back(caller.Now()); }, {});
  }
  caller.Stop();
  const std::int64_t asked = clock.asked;
  transport.Answer(absl::CancelledError("shutting down"));
  transport.Answer(absl::UnavailableError("the connection has ended"));
  executor->Stop();
  CHECK(heard.size() >= 1);
  CHECK(clock.asked == asked);
}

}  // namespace
}  // namespace leeway
