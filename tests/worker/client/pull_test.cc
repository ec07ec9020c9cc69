#include "worker/client/pull.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <numeric>

#include "kernels/encodings/bf16.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/worker/client/runtime.h"

namespace leeway {
namespace {

constexpr std::uint64_t kElements = 3 * Placement::kChunkElements + 12345;

struct Cluster {
  explicit Cluster(std::uint32_t shards)
      : fake(kElements, shards, v1::Policy(), 0),
        placement(Placement::Make(kElements, shards).value()),
        view(std::make_shared<ClusterView>(Join(), 42, [] {})) {
    MutexLock lock(fake.mu);
    std::iota(fake.weights.begin(), fake.weights.end(), 0.0f);
    runtime.caller.SetShardAddresses({fake.join.shard_addresses().begin(), fake.join.shard_addresses().end()});
  }
  v1::JoinReply Join() {
    MutexLock lock(fake.mu);
    return fake.join;
  }
  std::shared_ptr<Pull> Start(std::vector<float>* out, std::promise<PullResult>* result,
                              v1::Encoding encoding = v1::F32, std::shared_ptr<SeenWeights> seen = nullptr) {
    Pull::Request request;
    request.encoding = encoding;
    request.seen = std::move(seen);
    request.clock = 4;
    request.own_clock = 3;
    auto pull = std::make_shared<Pull>(runtime.caller, view, placement, request, out->data(),
                                       [result](PullResult r) { result->set_value(std::move(r)); });
    pull->Start();
    return pull;
  }

  FakeCluster fake;
  Runtime runtime{fake};
  const Placement placement;
  std::shared_ptr<ClusterView> view;
};

TEST_CASE("A pull fills the whole vector, whatever the number of shards") {
  for (const std::uint32_t shards : {1u, 2u, 5u, 60u}) {
    Cluster cluster(shards);
    std::vector<float> out(kElements, -1.0f);
    std::promise<PullResult> result;
    cluster.Start(&out, &result);
    const PullResult r = result.get_future().get();
    REQUIRE(r.status.ok());
    MutexLock lock(cluster.fake.mu);
    CHECK(out == cluster.fake.weights);
    CHECK(r.reads.size() == shards);
    CHECK_FALSE(r.gated);
    for (const v1::PullRequest& request : cluster.fake.pulls) {
      CHECK(request.clock() == 4);
      CHECK(request.own_clock() == 3);
      CHECK(request.stamp().incarnation() == 42);
    }
  }
}

// A manifest lists its tensors in the order in which forward uses them (models_test.cc: gradients become final in the
// opposite one), so what is needed first comes first, from all shards at once.
TEST_CASE("A pull asks for the model vector from its beginning to its end, over all shards") {
  for (const std::uint32_t shards : {1u, 2u, 3u}) {
    Cluster cluster(shards);
    std::vector<float> out(kElements);
    std::promise<PullResult> result;
    cluster.Start(&out, &result);
    REQUIRE(result.get_future().get().status.ok());
    // Piece by piece, each at most 1 MiB. The fake answers in line, so one thread asks for all of them.
    std::vector<std::uint64_t> expected(cluster.placement.num_blocks());
    std::iota(expected.begin(), expected.end(), std::uint64_t{0});
    std::vector<std::uint64_t> first;
    REQUIRE(expected.size() > 2 * shards);
    std::vector<std::uint64_t> asked;
    std::size_t most = 0;
    MutexLock lock(cluster.fake.mu);
    for (const v1::PullRequest& request : cluster.fake.pulls) {
      const ChunkRun run{request.run().first_block(), request.run().num_blocks()};
      CHECK(cluster.placement.RunElements(run) <= Pull::kPieceElements);
      most = std::max<std::size_t>(most, run.num_blocks);
      first.push_back(run.first_block);
      for (std::uint32_t i = 0; i < run.num_blocks; ++i) asked.push_back(run.first_block + std::uint64_t{i} * shards);
    }
    CHECK(most * cluster.placement.block_elements() == Pull::kPieceElements);
    CHECK(std::is_sorted(first.begin(), first.end()));
    std::sort(asked.begin(), asked.end());
    CHECK(asked == expected);  // each block once
  }
}

TEST_CASE("A pull that is held asks again until the gate opens, and knows whom it waited for") {
  Cluster cluster(2);
  std::atomic<int> shut = 7;
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.gate = [&](const v1::PullRequest&) { return shut-- <= 0; };
  }
  std::vector<float> out(kElements);
  std::promise<PullResult> result;
  auto pull = cluster.Start(&out, &result);
  const PullResult r = result.get_future().get();
  REQUIRE(r.status.ok());
  CHECK(r.gated);
  CHECK(r.waited_for == std::vector<std::uint32_t>{8});
  MutexLock lock(cluster.fake.mu);
  CHECK(out == cluster.fake.weights);
}

TEST_CASE("An abandoned pull writes nothing more") {
  Cluster cluster(2);
  std::atomic<bool> open = false;
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.gate = [&](const v1::PullRequest&) { return open.load(); };
  }
  std::vector<float> out(kElements, -1.0f);
  std::promise<PullResult> result;
  auto pull = cluster.Start(&out, &result);
  pull->Abandon();
  open = true;
  std::promise<void> later;
  cluster.runtime.caller.After(absl::Milliseconds(150), [&] { later.set_value(); });
  later.get_future().wait();
  CHECK(out == std::vector<float>(kElements, -1.0f));
}

TEST_CASE("A pull of an expired incarnation fails, and the view says so") {
  Cluster cluster(3);
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.expired.insert(42);
  }
  std::vector<float> out(kElements);
  std::promise<PullResult> result;
  cluster.Start(&out, &result);
  CHECK(absl::IsFailedPrecondition(result.get_future().get().status));
  CHECK(absl::IsFailedPrecondition(cluster.view->expired()));
}

TEST_CASE("A bf16 pull brings every value to within half a place of its 8 bits") {
  for (const std::uint32_t shards : {1u, 3u}) {
    Cluster cluster(shards);
    std::vector<float> out(kElements, -1.0f);
    std::promise<PullResult> result;
    cluster.Start(&out, &result, v1::BF16);
    REQUIRE(result.get_future().get().status.ok());
    MutexLock lock(cluster.fake.mu);
    for (const v1::PullRequest& request : cluster.fake.pulls) REQUIRE(request.encoding() == v1::BF16);
    int rounded = 0, wrong = 0;
    for (std::size_t i = 0; i < kElements; ++i) {
      const float error = std::abs(out[i] - cluster.fake.weights[i]);
      rounded += error > 0 ? 1 : 0;
      wrong += error > cluster.fake.weights[i] / 256 ? 1 : 0;
    }
    CHECK(rounded > 0);
    CHECK(wrong == 0);
  }
}

TEST_CASE("A pull that keeps bf16 as it comes decodes to the pull that does not") {
  for (const std::uint32_t shards : {1u, 3u}) {
    Cluster cluster(shards);
    std::vector<float> out(kElements, -1.0f), decoded(kElements);
    std::promise<PullResult> result, kept;
    cluster.Start(&out, &result, v1::BF16);
    REQUIRE(result.get_future().get().status.ok());
    std::vector<std::uint16_t> halves(kElements);
    Pull::Request request;
    request.encoding = v1::BF16;
    request.halves = halves.data();
    auto pull = std::make_shared<Pull>(cluster.runtime.caller, cluster.view, cluster.placement, request, nullptr,
                                       [&kept](PullResult r) { kept.set_value(std::move(r)); });
    pull->Start();
    REQUIRE(kept.get_future().get().status.ok());
    DecodeBf16(reinterpret_cast<const char*>(halves.data()), kElements, decoded.data());
    CHECK(decoded == out);
  }
}

TEST_CASE("Pulls of deltas follow weights that move, and a lost answer only costs a full one") {
  constexpr int kSteps = 6;
  Cluster cluster(3);
  auto seen = std::make_shared<SeenWeights>(cluster.placement);
  std::vector<float> out(kElements);
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.weights.assign(kElements, 0.0f);
  }
  Random random(TestSeed());
  for (int step = 0; step < kSteps; ++step) {
    {
      MutexLock lock(cluster.fake.mu);
      for (float& w : cluster.fake.weights) w += static_cast<float>(random.Unit() - 0.5);
      cluster.fake.script.lose = [losses = step == 3 ? 1 : 0](const std::string&) mutable { return losses-- > 0; };
    }
    std::promise<PullResult> result;
    cluster.Start(&out, &result, v1::INT8, seen);
    REQUIRE(result.get_future().get().status.ok());
    MutexLock lock(cluster.fake.mu);
    float worst = 0;
    for (std::size_t i = 0; i < kElements; ++i) worst = std::max(worst, std::abs(out[i] - cluster.fake.weights[i]));
    CHECK(worst <= 0.51f / 254);  // half a place of the greatest difference: 0.5 and what the last one left out
  }
  MutexLock lock(cluster.fake.mu);
  const std::uint64_t chunks = (cluster.fake.pulls.size() - 1) / kSteps;  // one was asked for twice
  CHECK(cluster.fake.deltas_given == chunks * (kSteps - 1));              // the lost one was a delta too
}

TEST_CASE("Pulls that overlap name the same base, and each gets weights that are no older than it asked for") {
  Cluster cluster(2);
  auto seen = std::make_shared<SeenWeights>(cluster.placement);
  std::vector<std::vector<float>> out(3, std::vector<float>(kElements));
  for (int step = 0; step < 3; ++step) {
    std::vector<float> before;
    {
      MutexLock lock(cluster.fake.mu);
      for (float& w : cluster.fake.weights) w += 64.0f;  // exact, also as int8: all differences are equal
      before = cluster.fake.weights;
    }
    std::vector<std::promise<PullResult>> results(3);
    for (std::size_t i = 0; i < 3; ++i) cluster.Start(&out[i], &results[i], v1::INT8, seen);
    for (std::size_t i = 0; i < 3; ++i) {
      REQUIRE(results[i].get_future().get().status.ok());
      CHECK(out[i] == before);
    }
  }
}

TEST_CASE("A new incarnation starts with full values") {
  Cluster cluster(2);
  auto seen = std::make_shared<SeenWeights>(cluster.placement);
  std::vector<float> out(kElements);
  for (const std::uint64_t incarnation : {42, 43}) {
    cluster.view = std::make_shared<ClusterView>(cluster.Join(), incarnation, [] {});
    seen->Forget();
    for (int pull = 0; pull < 2; ++pull) {
      std::promise<PullResult> result;
      cluster.Start(&out, &result, v1::INT8, seen);
      REQUIRE(result.get_future().get().status.ok());
    }
    MutexLock lock(cluster.fake.mu);
    CHECK(out == cluster.fake.weights);
  }
  MutexLock lock(cluster.fake.mu);
  CHECK(cluster.fake.deltas_given == cluster.fake.pulls.size() / 2);
}

}  // namespace
}  // namespace leeway
