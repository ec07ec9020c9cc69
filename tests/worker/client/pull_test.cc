#include "worker/client/pull.h"

#include <algorithm>
#include <future>
#include <numeric>

#include "tests/catch.h"
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
  std::shared_ptr<Pull> Start(std::vector<float>* out, std::promise<PullResult>* result) {
    Pull::Request request;
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
    std::vector<std::uint64_t> expected;
    for (std::uint32_t chunk = 0; chunk < cluster.placement.ShardChunks(0); ++chunk) {
      for (std::uint32_t shard = 0; shard < shards; ++shard) {
        const ChunkRun run = cluster.placement.Chunk(shard, chunk);
        if (run.num_blocks > 0) expected.push_back(run.first_block);
      }
    }
    REQUIRE(expected.size() > shards);
    REQUIRE(expected.size() <= Pull::kWindow);  // so that one thread asks for all of them
    CHECK(std::is_sorted(expected.begin(), expected.end()));
    std::vector<std::uint64_t> asked;
    MutexLock lock(cluster.fake.mu);
    for (const v1::PullRequest& request : cluster.fake.pulls) asked.push_back(request.run().first_block());
    CHECK(asked == expected);
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

}  // namespace
}  // namespace leeway
