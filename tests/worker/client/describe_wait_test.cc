// Who keeps a worker waiting, as its pulls and pushes and the caller know it.
#include "worker/client/describe_wait.h"

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "tests/catch.h"
#include "tests/worker/client/runtime.h"
#include "worker/client/chunk_tracker.h"
#include "worker/client/push.h"

namespace leeway {
namespace {

constexpr std::uint64_t kElements = 100'000;

void Await(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// Some shards cannot be reached; the gates of the others may be shut, for worker 8 at clock 0.
struct Cluster {
  explicit Cluster(std::uint32_t shards, std::uint32_t first_unreached, bool shut)
      : fake(kElements, shards, v1::Policy(), 0), placement(Placement::Make(kElements, shards).value()) {
    MutexLock lock(fake.mu);
    view = std::make_shared<ClusterView>(fake.join, 42, [] {});
    runtime.caller.SetShardAddresses({fake.join.shard_addresses().begin(), fake.join.shard_addresses().end()});
    for (std::uint32_t shard = first_unreached; shard < shards; ++shard)
      unreached.insert("shard-" + std::to_string(shard));
    fake.script.fail = [this](const std::string& address, const std::string&) {
      return unreached.count(address) > 0 ? absl::UnavailableError("cut off") : absl::OkStatus();
    };
    fake.script.gate = [shut](const v1::PullRequest&) { return !shut; };
  }
  std::vector<v1::WaitUnderWay> Describe(v1::WaitKind kind, const std::vector<MissingAnswer>& missing,
                                         Instant from = Instant{}) {
    return DescribeWait(runtime.caller, kind, from, 4, missing);
  }
  void AwaitTrouble(std::uint32_t shard) {
    Await([&] { return !runtime.caller.LastTrouble(static_cast<Target>(shard)).status.ok(); });
  }

  std::set<std::string> unreached;
  FakeCluster fake;
  Runtime runtime{fake, absl::Minutes(1)};
  const Placement placement;
  std::shared_ptr<ClusterView> view;
};

TEST_CASE("A pull waits for a shard that cannot be reached, and for others at their gates") {
  Cluster cluster(2, 1, true);
  std::vector<float> out(kElements);
  Pull::Request request;
  request.clock = 4;
  const auto pull = std::make_shared<Pull>(cluster.runtime.caller, cluster.view, cluster.placement, request, out.data(),
                                           [](const PullResult&) {});
  CHECK(pull->MissingAnswers().empty());
  pull->Start();
  cluster.AwaitTrouble(1);
  const std::vector<MissingAnswer> missing = pull->MissingAnswers();
  REQUIRE(missing.size() == 2);
  CHECK(missing[0].shard == 0);
  REQUIRE(missing[0].waits_for.size() == 1);
  CHECK(missing[1].shard == 1);
  CHECK(missing[1].waits_for.empty());

  std::vector<v1::WaitUnderWay> waits = cluster.Describe(v1::WAIT_PULL, missing);
  REQUIRE(waits.size() == 2);
  CHECK(waits[0].kind() == v1::WAIT_PULL);
  CHECK(waits[0].shard() == 1);
  CHECK(waits[0].address() == "shard-1");
  CHECK(waits[0].error() == "UNAVAILABLE: cut off");
  CHECK(waits[0].clock() == 4);
  CHECK(waits[0].millis() > 0);
  CHECK(waits[1].kind() == v1::WAIT_GATE);
  CHECK_FALSE(waits[1].has_shard());
  REQUIRE(waits[1].on_size() == 1);
  CHECK(waits[1].on(0).worker_id() == 8);
  CHECK(InWords(waits) ==
        "ps 1 at shard-1: no answer, Pull of step 4; UNAVAILABLE: cut off; worker 8 at clock 0: gate, Pull of step 4");
  // What failed before the wait began is not why it lasts.
  waits = cluster.Describe(v1::WAIT_PULL, missing, cluster.runtime.caller.Now() + absl::Hours(1));
  REQUIRE(waits.size() == 2);
  CHECK(waits[0].error().empty());
  CHECK(waits[0].millis() == 0);

  // Nor is what failed before the shard has said that it holds the pull.
  {
    MutexLock lock(cluster.fake.mu);
    cluster.unreached.clear();
  }
  Await([&] { return pull->MissingAnswers().back().waits_for.size() == 1; });
  waits = cluster.Describe(v1::WAIT_PULL, pull->MissingAnswers());
  REQUIRE(waits.size() == 1);
  CHECK(waits[0].kind() == v1::WAIT_GATE);

  // When the shards answer, it waits for nobody.
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.gate = nullptr;
  }
  Await([&] { return pull->MissingAnswers().empty(); });
  pull->Abandon();
}

TEST_CASE("A push waits for its ticket, then for the shards that have its chunks") {
  Cluster cluster(2, 1, false);
  const std::vector<float> gradient(kElements, 1.0f);
  bool ended = false;
  Mutex mu;
  Push::Request request;
  request.clock = 4;
  request.reads.resize(2);
  const auto push = std::make_shared<Push>(cluster.runtime.caller, cluster.view, cluster.placement, request, 1, nullptr,
                                           gradient.data(), nullptr, [&](const PushResult&) {
                                             MutexLock lock(mu);
                                             ended = true;
                                           });
  ChunkTracker tracker(cluster.placement);
  for (const ChunkId id : tracker.MarkFinal(0, kElements)) push->Ready(id);
  CHECK(push->held_back());
  CHECK(push->MissingAnswers().empty());
  push->Release();
  CHECK_FALSE(push->held_back());
  cluster.AwaitTrouble(1);
  Await([&] { return push->MissingAnswers().size() == 1; });  // shard 0 has answered
  const std::vector<v1::WaitUnderWay> waits = cluster.Describe(v1::WAIT_PUSH, push->MissingAnswers());
  REQUIRE(waits.size() == 1);
  CHECK(waits[0].kind() == v1::WAIT_PUSH);
  CHECK(waits[0].shard() == 1);
  CHECK(waits[0].error() == "UNAVAILABLE: cut off");
  {
    MutexLock lock(cluster.fake.mu);
    cluster.unreached.clear();
  }
  Await([&] {
    MutexLock lock(mu);
    return ended;
  });
  CHECK(push->MissingAnswers().empty());
}

TEST_CASE("What the coordinator is asked for is waited for at its address, and unknown answers at none") {
  Cluster cluster(1, 1, false);
  for (const v1::WaitKind kind : {v1::WAIT_DATA, v1::WAIT_COMMIT, v1::WAIT_TICKET}) {
    const std::vector<v1::WaitUnderWay> waits = cluster.Describe(kind, {});
    REQUIRE(waits.size() == 1);
    CHECK(waits[0].kind() == kind);
    CHECK(waits[0].shard() == 0);
    CHECK(waits[0].address() == FakeCluster::kCoordinatorAddress);
  }
  const std::vector<v1::WaitUnderWay> waits = cluster.Describe(v1::WAIT_PUSH, {});
  REQUIRE(waits.size() == 1);
  CHECK(waits[0].kind() == v1::WAIT_PUSH);
  CHECK_FALSE(waits[0].has_shard());
}

TEST_CASE("Of many shards and workers some are told, with errors that are printable and short") {
  Cluster cluster(20, 20, false);
  std::vector<MissingAnswer> missing;
  for (std::uint32_t shard = 0; shard < 20; ++shard) missing.push_back({shard, {}, "\x1b[2J" + std::string(9999, 'x')});
  std::vector<v1::WaitUnderWay> waits = cluster.Describe(v1::WAIT_PULL, missing);
  CHECK(waits.size() == kMostWaits);
  CHECK(waits[0].reason().size() <= kLongestReason);
  CHECK(waits[0].reason().find('\x1b') == std::string::npos);
  missing.resize(1);
  for (std::uint32_t worker = 0; worker < 1000; ++worker) {
    missing[0].waits_for.emplace_back().set_worker_id(worker);
  }
  waits = cluster.Describe(v1::WAIT_PULL, missing);
  REQUIRE(waits.size() == 1);
  CHECK(waits[0].on_size() == kMostWaitedFor);
}

}  // namespace
}  // namespace leeway
