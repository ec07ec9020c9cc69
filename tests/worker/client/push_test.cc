#include "worker/client/push.h"

#include <cmath>
#include <future>
#include <limits>

#include "tests/catch.h"
#include "tests/worker/client/runtime.h"
#include "worker/client/chunk_memory.h"
#include "worker/client/chunk_tracker.h"

namespace leeway {
namespace {

constexpr std::uint64_t kElements = 2 * Placement::kChunkElements + 777;

struct Cluster {
  explicit Cluster(std::uint32_t shards, std::uint64_t elements = kElements)
      : fake(elements, shards, v1::Policy(), 0),
        placement(Placement::Make(elements, shards).value()),
        view(std::make_shared<ClusterView>(Join(), 42, [] {})),
        gradient(elements, 1.0f) {
    runtime.caller.SetShardAddresses({fake.join.shard_addresses().begin(), fake.join.shard_addresses().end()});
  }
  v1::JoinReply Join() {
    MutexLock lock(fake.mu);
    return fake.join;
  }
  std::shared_ptr<Push> New(int holds) {
    Push::Request request;
    request.clock = 6;
    request.samples = 32;
    request.reads.assign(placement.num_shards(), {11, 9});
    return std::make_shared<Push>(runtime.caller, view, placement, request, holds, nullptr, gradient.data(), nullptr,
                                  [this](PushResult r) { result.set_value(std::move(r)); });
  }
  void AllReady(Push& push) {
    ChunkTracker tracker(placement);
    for (const ChunkId id : tracker.MarkFinal(0, placement.elements())) push.Ready(id);
  }

  FakeCluster fake;
  Runtime runtime{fake};
  const Placement placement;
  std::shared_ptr<ClusterView> view;
  std::vector<float> gradient;
  std::promise<PushResult> result;
};

TEST_CASE("Every chunk arrives once, and the gradient is applied where it belongs") {
  for (const std::uint32_t shards : {1u, 3u, 50u}) {
    Cluster cluster(shards);
    for (std::size_t i = 0; i < cluster.gradient.size(); ++i) cluster.gradient[i] = static_cast<float>(i % 1000);
    auto push = cluster.New(0);
    cluster.AllReady(*push);
    const PushResult r = cluster.result.get_future().get();
    REQUIRE(r.status.ok());
    CHECK(r.verdict == v1::APPLIED);
    CHECK_FALSE(r.partial);
    MutexLock lock(cluster.fake.mu);
    CHECK(cluster.fake.version == 1);
    for (std::size_t i = 0; i < cluster.gradient.size(); i += 997) {
      CHECK(cluster.fake.weights[i] == -0.1f * static_cast<float>(i % 1000));
    }
    CHECK(cluster.fake.pushes[0].read_version() == 11);
    CHECK(cluster.fake.pushes[0].read_generation() == 9);
  }
}

TEST_CASE("A push says how far the journals of all its shards were when they answered") {
  Cluster cluster(2);
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.journaled = {{0, 70}, {1, 3}};
  }
  auto push = cluster.New(0);
  cluster.AllReady(*push);
  const PushResult r = cluster.result.get_future().get();
  REQUIRE(r.journaled.size() == 2);
  for (std::uint32_t shard = 0; shard < 2; ++shard) {
    CHECK(r.journaled[shard].shard_index() == shard);
    CHECK(r.journaled[shard].generation() == 9);
    CHECK(r.journaled[shard].records() == (shard == 0 ? 70 : 3) + cluster.placement.ShardChunks(shard));
  }
}

TEST_CASE("A gradient of bfloat16 is sent from where it lies, as BF16") {
  for (const std::uint32_t shards : {1u, 3u}) {
    Cluster cluster(shards);
    std::vector<std::uint16_t> halves(kElements);
    for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = i % 2 == 0 ? 0x3f80 : 0xc040;  // 1, -3
    Push::Request request;
    request.clock = 6;
    request.encoded = {v1::BF16,
                       [&](ChunkId id) {
                         return WrapRun(cluster.placement, cluster.placement.Chunk(id.shard, id.chunk), nullptr,
                                        halves.data());
                       },
                       nullptr};
    auto push = std::make_shared<Push>(cluster.runtime.caller, cluster.view, cluster.placement, request, 0, nullptr,
                                       nullptr, nullptr, [&](PushResult r) { cluster.result.set_value(std::move(r)); });
    cluster.AllReady(*push);
    const PushResult r = cluster.result.get_future().get();
    REQUIRE(r.status.ok());
    CHECK(r.verdict == v1::APPLIED);
    MutexLock lock(cluster.fake.mu);
    for (const v1::PushRequest& sent : cluster.fake.pushes) REQUIRE(sent.encoding() == v1::BF16);
    int wrong = 0;
    for (std::size_t i = 0; i < halves.size(); ++i) {
      wrong += cluster.fake.weights[i] == -0.1f * (i % 2 == 0 ? 1.0f : -3.0f) ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("Chunks leave as they become ready") {
  Cluster cluster(2);
  auto push = cluster.New(0);
  push->Ready({1, 0});
  MutexLock lock(cluster.fake.mu);
  REQUIRE(cluster.fake.pushes.size() == 1);
  CHECK(cluster.fake.pushes[0].clock() == 6);
}

TEST_CASE("A shard without blocks gets its one empty chunk") {
  Cluster cluster(3, 100);
  auto push = cluster.New(0);
  cluster.AllReady(*push);
  REQUIRE(cluster.result.get_future().get().status.ok());
  MutexLock lock(cluster.fake.mu);
  REQUIRE(cluster.fake.pushes.size() == 3);
  int empty = 0;
  for (const v1::PushRequest& request : cluster.fake.pushes) {
    if (request.null_verdict() == v1::APPLIED) ++empty;
  }
  CHECK(empty == 2);
  CHECK(cluster.fake.version == 1);
}

TEST_CASE("Nothing leaves while holds are left, and the ticket is in every chunk") {
  Cluster cluster(2);
  auto push = cluster.New(2);
  cluster.AllReady(*push);
  push->Release();
  {
    MutexLock lock(cluster.fake.mu);
    CHECK(cluster.fake.pushes.empty());
  }
  v1::Ticket ticket;
  ticket.set_serial(3);
  push->SetTicket(ticket);
  push->Release();
  REQUIRE(cluster.result.get_future().get().status.ok());
  MutexLock lock(cluster.fake.mu);
  for (const v1::PushRequest& request : cluster.fake.pushes) CHECK(request.ticket().serial() == 3);
}

TEST_CASE("A null push is one header per shard") {
  Cluster cluster(2);
  auto push = cluster.New(1);
  cluster.AllReady(*push);
  push->MakeNull(v1::REFUSED);
  push->Ready({0, 0});  // too late
  push->Release();
  const PushResult r = cluster.result.get_future().get();
  REQUIRE(r.status.ok());
  CHECK(r.verdict == v1::REFUSED);
  MutexLock lock(cluster.fake.mu);
  REQUIRE(cluster.fake.pushes.size() == 2);
  CHECK(cluster.fake.pushes[0].chunk_count() == 1);
  CHECK(cluster.fake.pushes[0].run().num_blocks() == 0);
  CHECK(cluster.fake.weights == std::vector<float>(kElements, 0.0f));
}

TEST_CASE("A non-finite chunk makes the push partial; the other chunks go on") {
  Cluster cluster(2);
  cluster.gradient[0] = std::numeric_limits<float>::quiet_NaN();
  auto push = cluster.New(0);
  cluster.AllReady(*push);
  const PushResult r = cluster.result.get_future().get();
  REQUIRE(r.status.ok());
  CHECK(r.verdict == v1::APPLIED);
  CHECK(r.partial);
  CHECK(r.refusal == "non-finite value");
}

TEST_CASE("A push whose every value is refused is not partial for the sake of a shard without blocks") {
  Cluster cluster(3, 100);
  cluster.gradient[0] = std::numeric_limits<float>::quiet_NaN();
  auto push = cluster.New(0);
  cluster.AllReady(*push);
  const PushResult r = cluster.result.get_future().get();
  REQUIRE(r.status.ok());
  CHECK(r.verdict == v1::REFUSED);
  CHECK_FALSE(r.partial);
}

TEST_CASE("A dropped push tells where to go on") {
  Cluster cluster(2);
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.verdict = [](const v1::PushRequest& r) { return r.chunk() == 0 ? v1::DROPPED : v1::HELD; };
  }
  auto push = cluster.New(0);
  cluster.AllReady(*push);
  const PushResult r = cluster.result.get_future().get();
  CHECK(r.verdict == v1::DROPPED);
  CHECK(r.open_round == 16);
}

TEST_CASE("A push that is given up sends nothing more, and is dropped when its gradient is not computed any more") {
  Cluster cluster(2);
  auto push = cluster.New(0);
  push->Ready({0, 0});
  CHECK_FALSE(push->given_up());
  CHECK(push->GiveUp(9));
  CHECK(push->given_up());
  push->Ready({1, 0});
  push->MakeNull(v1::REFUSED, "non-finite gradient");  // whoever finds that now is late
  std::future<PushResult> result = cluster.result.get_future();
  CHECK(result.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout);
  push->NoMoreChunks();
  const PushResult r = result.get();
  CHECK(r.status.ok());
  CHECK(r.verdict == v1::DROPPED);
  CHECK(r.open_round == 9);
  MutexLock lock(cluster.fake.mu);
  CHECK(cluster.fake.pushes.size() == 1);
}

TEST_CASE("A push of which nothing has left is given up without a call") {
  Cluster cluster(3, 100);
  auto push = cluster.New(1);
  cluster.AllReady(*push);
  CHECK(push->GiveUp(9));
  push->NoMoreChunks();
  push->Release();
  const PushResult r = cluster.result.get_future().get();
  CHECK(r.verdict == v1::DROPPED);
  CHECK(r.open_round == 9);
  MutexLock lock(cluster.fake.mu);
  CHECK(cluster.fake.pushes.empty());
}

// Its last chunk may have come in time, and the answer not.
TEST_CASE("A push that has left as a whole is not given up: its verdict says what became of it") {
  Cluster cluster(2);
  std::shared_ptr<Push> push;
  bool given_up = true;
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.verdict = [&, chunks = 0u](const v1::PushRequest&) mutable {
      const bool last = ++chunks == cluster.placement.ShardChunks(0) + cluster.placement.ShardChunks(1);
      if (last) given_up = push->GiveUp(9);
      return v1::HELD;
    };
  }
  push = cluster.New(0);
  cluster.AllReady(*push);
  push->NoMoreChunks();
  const PushResult r = cluster.result.get_future().get();
  CHECK_FALSE(given_up);
  CHECK(r.verdict == v1::APPLIED);
  CHECK_FALSE(push->GiveUp(9));  // nor is one that has ended
  CHECK_FALSE(push->given_up());
}

TEST_CASE("A null push and one that has failed are not given up") {
  Cluster cluster(2);
  auto null = cluster.New(1);
  null->MakeNull(v1::REFUSED);
  CHECK_FALSE(null->GiveUp(9));
  null->Release();
  CHECK(cluster.result.get_future().get().verdict == v1::REFUSED);
  cluster.result = std::promise<PushResult>();
  auto failed = cluster.New(1);
  failed->Abandon();
  CHECK_FALSE(failed->GiveUp(9));
  CHECK(absl::IsCancelled(cluster.result.get_future().get().status));
}

TEST_CASE("An abandoned push ends when its calls have, without a verdict") {
  Cluster cluster(2);
  auto push = cluster.New(0);
  push->Ready({0, 0});
  push->Abandon();
  push->Ready({1, 0});
  const PushResult r = cluster.result.get_future().get();
  CHECK(absl::IsCancelled(r.status));
  MutexLock lock(cluster.fake.mu);
  CHECK(cluster.fake.pushes.size() == 1);
}

TEST_CASE("An error that concerns the whole push ends it") {
  Cluster cluster(2);
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.expired.insert(42);
  }
  auto push = cluster.New(0);
  cluster.AllReady(*push);
  CHECK(absl::IsFailedPrecondition(cluster.result.get_future().get().status));
  CHECK_FALSE(cluster.view->expired().ok());
}

}  // namespace
}  // namespace leeway
