// Pushes, pulls and uploads over a link on which messages were late: each waits for room, and gets it.
#include <numeric>
#include <optional>
#include <vector>

#include "common/rpc.h"
#include "tests/catch.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"
#include "tests/worker/client/fake_cluster.h"
#include "tests/worker/client/held_calls.h"
#include "worker/client/chunk_memory.h"
#include "worker/client/pull.h"
#include "worker/client/push.h"
#include "worker/client/put_weights.h"

namespace leeway {
namespace {

constexpr std::uint32_t kShards = 3;
constexpr std::uint64_t kElements = kShards * Placement::kMinBlock;  // one chunk of each shard
constexpr absl::Duration kSlow = absl::Seconds(4);  // too large a part of the deadline to make room for another message

struct ThinLink {
  ThinLink() {
    MutexLock lock(cluster.mu);
    std::iota(cluster.weights.begin(), cluster.weights.end(), 0.0f);
    caller.SetShardAddresses({cluster.join.shard_addresses().begin(), cluster.join.shard_addresses().end()});
    view = std::make_shared<ClusterView>(cluster.join, 42, [] {});
    // In each direction one message was late: from now on one goes at a time.
    for (const Caller::Load load : {Caller::Load::kUp, Caller::Load::kDown}) {
      REQUIRE(caller.MayStart(load, [] {}));
      caller.CallBytes(0, "Service/Method", Buffer(), [](const absl::Status&, const Buffer&) {},
                       {.wanted = [] { return false; }, .load = load});
      Late();
    }
  }
  ~ThinLink() {
    caller.Stop();
    executor.RunAll();
    clock.Stop();
  }

  void Late() {
    clock.Advance(Caller::kAttempt);
    transport.Answer(absl::DeadlineExceededError("late"));
    executor.RunAll();
  }
  // The message that is under way arrives, and its answer comes.
  void Carry() {
    Wait();
    transport.PassOn();
    executor.RunAll();
  }
  void CarryAll() {
    while (!transport.calls.empty()) Carry();
  }
  // In place of the shard's own answer.
  void Answer(const google::protobuf::Message& reply) {
    Wait();
    transport.Answer(absl::OkStatus(), EncodeMessage(reply));
    executor.RunAll();
  }
  // For the answer to the one message that is under way.
  void Wait() {
    REQUIRE(transport.calls.size() == 1);
    clock.Advance(kSlow);
    executor.RunAll();
    REQUIRE(transport.calls.size() == 1);
  }
  std::shared_ptr<Pull> StartPull(std::vector<float>* out, std::optional<PullResult>* result) {
    auto pull = std::make_shared<Pull>(caller, view, placement, Pull::Request(), out->data(),
                                       [result](PullResult r) { *result = std::move(r); });
    pull->Start();
    return pull;
  }

  FakeCluster cluster{kElements, kShards, v1::Policy(), 0};
  const Placement placement = Placement::Make(kElements, kShards).value();
  HeldCalls transport{&cluster};
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller{transport, clock, executor, FakeCluster::kCoordinatorAddress, absl::Minutes(10), 1};
  std::shared_ptr<ClusterView> view;
};

TEST_CASE("The chunks of a push go one after the other, also one that is asked for again") {
  ThinLink link;
  const std::vector<float> gradient(kElements, 1.0f);
  std::optional<PushResult> result;
  const auto push = std::make_shared<Push>(link.caller, link.view, link.placement, Push::Request(), 0, nullptr,
                                           gradient.data(), nullptr, [&](PushResult r) { result = std::move(r); });
  for (std::uint32_t shard = 0; shard < kShards; ++shard) push->Ready({shard, 0});
  v1::PushReply not_yet;
  not_yet.mutable_not_yet();
  link.Answer(not_yet);
  link.CarryAll();
  REQUIRE(result);
  CHECK(result->verdict == v1::APPLIED);
  MutexLock lock(link.cluster.mu);
  CHECK(link.cluster.pushes.size() == kShards);
  CHECK(link.cluster.applied == std::vector<double>(kElements, 1.0));
}

TEST_CASE("The pieces of a pull go one after the other, also one that is asked for again") {
  ThinLink link;
  std::vector<float> out(kElements, -1.0f);
  std::optional<PullResult> result;
  const auto pull = link.StartPull(&out, &result);
  v1::PullReply not_yet;
  not_yet.mutable_not_yet();
  link.Answer(not_yet);
  link.CarryAll();
  REQUIRE(result);
  CHECK(result->status.ok());
  MutexLock lock(link.cluster.mu);
  CHECK(link.cluster.pulls.size() == kShards);
  CHECK(out == link.cluster.weights);
}

TEST_CASE("A piece of an abandoned pull that was late leaves its room to the pull that is wanted") {
  ThinLink link;
  std::vector<float> abandoned(kElements), out(kElements);
  std::optional<PullResult> none, result;
  const auto first = link.StartPull(&abandoned, &none);
  first->Abandon();
  const auto second = link.StartPull(&out, &result);
  link.Late();
  link.CarryAll();
  REQUIRE(result);
  CHECK_FALSE(none);
  MutexLock lock(link.cluster.mu);
  CHECK(link.cluster.pulls.size() == kShards);
  CHECK(out == link.cluster.weights);
}

TEST_CASE("The chunks of an upload go one after the other") {
  ThinLink link;
  std::vector<float> weights(kElements), put(kElements);
  std::iota(weights.begin(), weights.end(), 0.0f);
  std::optional<absl::Status> result;
  PutWeights(link.caller, link.view, link.placement, nullptr, weights.data(),
             [&](absl::Status status) { result = std::move(status); });
  for (std::uint32_t shard = 0; shard < kShards; ++shard) {
    REQUIRE(link.transport.calls.size() == 1);
    v1::PutWeightsRequest request;
    Buffer payload;
    REQUIRE(DecodeMessage(link.transport.calls[0].request, &request, &payload).ok());
    const ChunkRun run{request.run().first_block(), request.run().num_blocks()};
    REQUIRE(UnpackRun(link.placement, run, v1::F32, payload, put.data()).ok());
    CHECK_FALSE(result);
    link.Answer(v1::PutWeightsReply());
  }
  CHECK(result == absl::OkStatus());
  CHECK(put == weights);
}

}  // namespace
}  // namespace leeway
