// What an abandoned push does to learn what became of its chunks: on a fake clock, over a transport that the test
// answers for.
#include <algorithm>
#include <deque>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "common/rpc.h"
#include "tests/catch.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"
#include "tests/worker/client/held_calls.h"
#include "worker/client/push.h"

namespace leeway {
namespace {

struct Fixture {
  explicit Fixture(std::uint32_t shards = 1, std::uint32_t ready = 2, std::uint64_t elements = 8000)
      : placement(Placement::Make(elements, shards).value()) {
    caller.SetShardAddresses(std::vector<std::string>(shards, "ps:1"));
    // The link was good until now: there is room for all at once.
    for (std::uint32_t i = 0; i < shards; ++i) {
      REQUIRE(caller.MayStart(Caller::Load::kUp, [] {}));
      caller.CallBytes(0, "Service/Method", Buffer(), [](const absl::Status&, const Buffer&) {},
                       {.load = Caller::Load::kUp});
      transport.Answer(absl::OkStatus());
    }
    v1::JoinReply join;
    join.set_run_id(1);
    push = std::make_shared<Push>(caller, std::make_shared<ClusterView>(join, 42, [] {}), placement, Push::Request(), 0,
                                  nullptr, gradient.data(), encoder, [this](PushResult r) { result = std::move(r); });
    for (std::uint32_t shard = 0; shard < std::min(shards, ready); ++shard) push->Ready({shard, 0});
    executor.RunAll();
  }
  ~Fixture() {
    caller.Stop();
    executor.RunAll();
    clock.Stop();
  }

  void Advance(absl::Duration duration) {
    clock.Advance(duration);
    executor.RunAll();
  }
  void Answer(const absl::Status& status, v1::Verdict verdict = v1::VERDICT_NONE) {
    v1::PushReply reply;
    reply.set_verdict(verdict);
    transport.Answer(status, status.ok() ? EncodeMessage(reply) : Buffer());
    executor.RunAll();
  }

  const Placement placement;
  HeldCalls transport;
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller{transport, clock, executor, "ps0:1", absl::Minutes(10), 1};
  const std::vector<float> gradient = std::vector<float>(placement.elements(), 1.0f);
  const std::shared_ptr<Push::Encoder> encoder =
      std::make_shared<Push::Encoder>(placement, PushEncoding{v1::TOP_K, 1, 0}, executor);
  std::shared_ptr<Push> push;
  std::optional<PushResult> result;
};

// Its lease ran out while its network was cut: an attempt ends by its deadline, long after the push was abandoned.
TEST_CASE("An abandoned push asks again after an attempt that nobody has answered") {
  Fixture f;
  REQUIRE(f.transport.calls.size() == 1);
  f.push->Abandon();
  f.Advance(absl::Seconds(20));
  f.Answer(absl::DeadlineExceededError("no answer"));
  f.Advance(absl::Seconds(1));
  REQUIRE(f.transport.calls.size() == 1);
  f.Answer(absl::UnavailableError("the connection broke"));
  f.Advance(absl::Seconds(1));
  REQUIRE(f.transport.calls.size() == 1);
  CHECK_FALSE(f.result);
  SECTION("it never came: the gradient is kept") {
    f.Answer(absl::FailedPreconditionError("the lease ran out"));
    REQUIRE(f.result);
    CHECK(f.encoder->feedback.residual() == f.gradient);
  }
  SECTION("it was applied") {
    f.Answer(absl::OkStatus(), v1::APPLIED);
    REQUIRE(f.result);
    CHECK(f.encoder->feedback.residual() == std::vector<float>(8000));
  }
  SECTION("not for ever: the shard may be gone") {
    f.Advance(absl::Seconds(20));
    f.Answer(absl::DeadlineExceededError("no answer"));
    f.Advance(absl::Seconds(60));
    CHECK(f.transport.calls.empty());
    REQUIRE(f.result);
    CHECK(absl::IsCancelled(f.result->status));
  }
}

// The lease ran out, and the round had been closed with the push: one shard says so, and it is so on the other.
TEST_CASE("Rounds: an abandoned push that its round has counted gives nothing back") {
  Fixture f(2);
  f.Answer(absl::OkStatus(), v1::HELD);
  f.push->Abandon();
  f.Answer(absl::OkStatus(), v1::APPLIED);
  REQUIRE(f.result);
  CHECK(absl::IsCancelled(f.result->status));
  CHECK(f.encoder->feedback.residual() == std::vector<float>(8000));
}

TEST_CASE("Rounds: an abandoned push of which a part has not left is in no round") {
  Fixture f(2, 1);
  f.Answer(absl::OkStatus(), v1::HELD);
  f.push->NoMoreChunks();
  f.push->Abandon();
  f.executor.RunAll();
  CHECK(f.transport.calls.empty());
  REQUIRE(f.result);
  const std::vector<float>& kept = f.encoder->feedback.residual();
  CHECK(std::accumulate(kept.begin(), kept.end(), 0.0f) == 4096);  // the first block
}

TEST_CASE("Rounds: a push of which a part never came is in no round") {
  Fixture f(2);
  f.Answer(absl::OkStatus(), v1::HELD);
  f.Answer(absl::FailedPreconditionError("the lease ran out"));
  CHECK(f.transport.calls.empty());
  REQUIRE(f.result);
  CHECK(f.encoder->feedback.residual() == f.gradient);
}

// What was held of it has returned by then.
TEST_CASE("Rounds: of a push that is partly refused nobody asks what its round has made of it") {
  Fixture f(2);
  f.Answer(absl::OkStatus(), v1::HELD);
  f.Answer(absl::InvalidArgumentError("non-finite value"));
  REQUIRE(f.result);
  CHECK(f.result->held);
  std::optional<v1::Verdict> told;
  f.push->AskOfRound([&told](v1::Verdict verdict) { told = verdict; });
  f.executor.RunAll();
  CHECK(f.transport.calls.empty());
  CHECK(told == v1::VERDICT_NONE);
}

TEST_CASE("Rounds: an abandoned push that its round has left out gives back what it held") {
  Fixture f(2);
  f.Answer(absl::OkStatus(), v1::HELD);
  f.push->Abandon();
  f.Answer(absl::OkStatus(), v1::DROPPED);
  REQUIRE(f.result);
  CHECK(f.encoder->feedback.residual() == f.gradient);
}

// Its last answer is the one that is missing.
TEST_CASE("Rounds: an abandoned push asks what its round has made of it") {
  Fixture f(2);
  f.Answer(absl::OkStatus(), v1::HELD);
  f.push->Abandon();
  f.Answer(absl::OkStatus(), v1::HELD);
  CHECK_FALSE(f.result);
  SECTION("the close was on its way") {
    f.Answer(absl::OkStatus(), v1::HELD);
    f.Advance(absl::Milliseconds(100));
    f.Answer(absl::OkStatus(), v1::APPLIED);
    REQUIRE(f.result);
    CHECK(f.encoder->feedback.residual() == std::vector<float>(8000));
  }
  SECTION("it was left out") {
    f.Answer(absl::OkStatus(), v1::DROPPED);
    REQUIRE(f.result);
    CHECK(f.encoder->feedback.residual() == f.gradient);
  }
  SECTION("the round stays open, and may still be closed with it: never twice") {
    for (int asked = 0; !f.result; ++asked) {
      REQUIRE(asked < 1000);
      f.Answer(absl::OkStatus(), v1::HELD);
      f.Advance(absl::Milliseconds(100));
    }
    CHECK(f.encoder->feedback.residual() == std::vector<float>(8000));
  }
  SECTION("nobody answers any more: never twice") {
    f.Advance(absl::Seconds(20));
    f.Answer(absl::DeadlineExceededError("no answer"));
    REQUIRE(f.result);
    CHECK(f.encoder->feedback.residual() == std::vector<float>(8000));
  }
}

// An empty chunk's answer is the one that is missing: the shard does not know it any more.
TEST_CASE("Rounds: a push whose worker is no member any more asks what its round has made of it") {
  Fixture f(3);  // of which the third has no blocks, and is called first
  std::rotate(f.transport.calls.begin(), f.transport.calls.begin() + 1, f.transport.calls.end());
  f.Answer(absl::OkStatus(), v1::HELD);
  f.Answer(absl::OkStatus(), v1::HELD);
  f.Answer(absl::FailedPreconditionError("the lease ran out"));
  REQUIRE(f.transport.calls.size() == 1);
  CHECK_FALSE(f.result);
  f.Answer(absl::OkStatus(), v1::APPLIED);
  REQUIRE(f.result);
  CHECK(absl::IsFailedPrecondition(f.result->status));
  CHECK(f.encoder->feedback.residual() == std::vector<float>(8000));
}

TEST_CASE("An abandoned push asks for some seconds while nobody is there") {
  Fixture f;
  f.push->Abandon();
  int asked = 0;
  while (!f.transport.calls.empty()) {
    ++asked;
    f.Answer(absl::UnavailableError("connection refused"));
    f.Advance(absl::Seconds(1));
  }
  CHECK(asked >= 3);
  CHECK(asked <= 8);
  REQUIRE(f.result);
  CHECK(absl::IsCancelled(f.result->status));
}

// All were late, so few go at once, and the last of them waits for longer than a shard is asked that does not answer.
TEST_CASE("An abandoned push's chunks that wait for room on a thin link are asked for as long as answers come") {
  constexpr std::uint32_t kShards = 4;
  Fixture f(kShards, kShards, kShards * Placement::kMinBlock);
  REQUIRE(f.transport.calls.size() == kShards);
  f.Advance(Caller::kAttempt);
  for (std::uint32_t shard = 0; shard < kShards; ++shard) f.Answer(absl::DeadlineExceededError("late"));
  f.push->Abandon();
  f.Advance(absl::Seconds(1));
  SECTION("none came: the gradient is kept") {
    while (!f.transport.calls.empty()) {
      f.Advance(absl::Seconds(6));
      f.Answer(absl::FailedPreconditionError("the lease ran out"));
    }
    REQUIRE(f.result);
    CHECK(f.encoder->feedback.residual() == f.gradient);
  }
  SECTION("not for ever: the next are not answered") {
    f.Answer(absl::FailedPreconditionError("the lease ran out"));
    for (int answers = 0; !f.transport.calls.empty(); ++answers) {
      REQUIRE(answers < 2);
      f.Advance(Caller::kAttempt);
      f.Answer(absl::DeadlineExceededError("late"));
    }
    REQUIRE(f.result);
    CHECK(absl::IsCancelled(f.result->status));
  }
}

TEST_CASE("A push whose shards are given up ends soon, though its chunks have to wait for room") {
  constexpr std::uint32_t kShards = 8;
  constexpr absl::Duration kLimit = absl::Minutes(1);
  Fixture f(kShards, kShards, kShards * Placement::kMinBlock);
  f.caller.SetGiveUpAfter(kLimit);
  std::deque<Instant> began;  // of each call that is under way
  for (const Instant start = f.clock.Now(); !f.result; f.Advance(absl::Seconds(1))) {
    const Instant now = f.clock.Now();
    REQUIRE(now - start <= kLimit + 2 * Caller::kAttempt);
    began.resize(f.transport.calls.size(), now);
    while (!began.empty() && now - began.front() >= Caller::kAttempt) {
      began.pop_front();
      f.Answer(absl::DeadlineExceededError("no answer"));
    }
  }
  CHECK(absl::IsUnavailable(f.result->status));
}

}  // namespace
}  // namespace leeway
