// Encoded pushes over a cluster that refuses, drops, loses answers and forgets incarnations. (Rounds:
// push_encoding_round_test.cc.)
#include <deque>
#include <future>
#include <limits>
#include <map>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/worker/client/encoding_cluster.h"

namespace leeway {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// A step in which something may go wrong on the worker's side.
std::shared_ptr<Cluster::InFlight> RandomStep(Cluster& cluster, Random& random) {
  std::vector<float> gradient = WholeNumbers(cluster.placement.elements(), random);
  const std::size_t chunks = cluster.ids.size();
  const bool ticket = random.Chance(0.2);
  const bool whole = random.Chance(0.1);
  if (!whole && random.Chance(0.05)) {
    const ChunkId broken = cluster.ids[random.Below(chunks)];
    const ChunkRun run = cluster.placement.Chunk(broken.shard, broken.chunk);
    gradient[cluster.placement.BlockBegin(run.first_block)] = kNaN;
  }
  auto in_flight = cluster.New(std::move(gradient), (ticket ? 1 : 0) + (whole ? 1 : 0));
  Push& push = *in_flight->push;
  if (whole && random.Chance(0.3)) {  // not finite: nothing of this gradient is ready, or counts
    push.NoMoreChunks();
    push.MakeNull(v1::REFUSED, "non-finite gradient");
    push.Release();
    if (ticket) push.Release();
    return in_flight;
  }
  const std::size_t first = ticket ? random.Below(chunks + 1) : chunks;
  for (std::size_t n = 0; n < first; ++n) cluster.Ready(*in_flight, n);
  if (ticket) {  // the answer comes while backward goes on
    if (random.Chance(0.5)) {
      v1::Ticket given;
      given.set_serial(in_flight->clock + 1);
      push.SetTicket(given);
    } else if (random.Chance(0.8)) {
      push.MakeNull(v1::REFUSED, "its delay");
    } else {
      push.Abandon();
    }
    push.Release();
  }
  for (std::size_t n = first; n < chunks; ++n) cluster.Ready(*in_flight, n);
  if (whole) push.Release();
  return in_flight;
}

void CheckIdentity(Cluster& cluster, Random& random, int steps, double tolerance) {
  {
    MutexLock lock(cluster.fake.mu);
    FakeCluster& fake = cluster.fake;
    fake.script.fail = [&](const std::string&, const std::string&) {
      const bool lost = random.Chance(0.01);
      if (random.Chance(0.001)) fake.expired.insert(fake.pushes.empty() ? 0 : fake.pushes.back().stamp().incarnation());
      return lost ? absl::UnavailableError("the request was lost") : absl::OkStatus();
    };
    fake.script.lose = [&](const std::string&) { return random.Chance(0.01); };
    fake.script.verdict = [&](const v1::PushRequest&) { return random.Chance(0.1) ? v1::REFUSED : v1::VERDICT_NONE; };
  }
  Random own(random.Bits());  // the other is the cluster's, under its lock
  std::deque<std::shared_ptr<Cluster::InFlight>> under_way;
  std::map<v1::Verdict, int> verdicts;
  int expired = 0;
  for (int step = 0; step < steps || !under_way.empty(); ++step) {
    if (step == steps / 2) {  // if chance has not done it
      MutexLock lock(cluster.fake.mu);
      cluster.fake.expired.insert(cluster.view->stamp().incarnation());
    }
    if (step < steps) under_way.push_back(RandomStep(cluster, own));
    while (under_way.size() >= (step < steps ? kSlots : 1)) {
      ++verdicts[under_way.front()->Wait().verdict];
      under_way.pop_front();
    }
    if (!cluster.view->expired().ok()) {  // the next incarnation goes on with the same residual
      for (const auto& in_flight : under_way) in_flight->Wait();
      under_way.clear();
      cluster.Rejoin();
      ++expired;
    }
  }
  CHECK(cluster.Error() <= tolerance);
  // It has seen everything.
  CHECK(expired > 0);
  CHECK(verdicts[v1::APPLIED] > steps / 2);
  CHECK(verdicts[v1::REFUSED] > steps / 50);
  MutexLock lock(cluster.fake.mu);
  cluster.fake.script = {};
}

TEST_CASE("top_k: sum(applied) + residual is the sum of the gradients, exactly, whatever goes wrong") {
  Random random(TestSeed());
  Cluster cluster(17000, 5, {v1::TOP_K, 0.01, 0});
  CheckIdentity(cluster, random, 2000, 0);
}

TEST_CASE("top_k on a device: the same, with chunks of several blocks") {
  Random random(TestSeed());
  Cluster cluster(17001, 2, {v1::TOP_K, 0.01, 0}, By::kDevice);
  CheckIdentity(cluster, random, 2000, 0);
}

TEST_CASE("int8, by the host and by a device: the same, to rounding") {
  const By by = GENERATE(By::kHost, By::kDevice);
  Random random(TestSeed());
  Cluster cluster(13000, by == By::kHost ? 4 : 3, {v1::INT8, 0, 0}, by);
  CheckIdentity(cluster, random, 1000, 0.05);  // a lost or doubled chunk is off by whole numbers
}

TEST_CASE("A chunk is sent again unchanged, although its residual has moved on") {
  Cluster cluster(5000, 1, {v1::TOP_K, 0.01, 0}, GENERATE(By::kHost, By::kDevice));
  std::promise<void> first_lost;
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.fail = [&, lost = 0](const std::string&, const std::string&) mutable {
      if (++lost > 1) return absl::OkStatus();
      first_lost.set_value();
      return absl::UnavailableError("the request was lost");
    };
  }
  auto first = cluster.New(std::vector<float>(5000, 3.0f));
  cluster.AllReady(*first);
  first_lost.get_future().wait();
  auto second = cluster.New(std::vector<float>(5000, -5.0f));
  cluster.AllReady(*second);
  CHECK(first->Wait().verdict == v1::APPLIED);
  CHECK(second->Wait().verdict == v1::APPLIED);
  CHECK(cluster.Error() == 0);
}

TEST_CASE("A push is not done before its whole gradient was taken, even when it was refused long before") {
  Cluster cluster(30000, 3, {v1::TOP_K, 0.01, 0}, GENERATE(By::kHost, By::kDevice));
  auto in_flight = cluster.New(std::vector<float>(30000, 1.0f), 1);
  cluster.Ready(*in_flight, 0);
  in_flight->push->MakeNull(v1::REFUSED, "its delay");
  in_flight->push->Release();
  std::future<PushResult> result = in_flight->result.get_future();
  CHECK(result.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout);
  cluster.Ready(*in_flight, 1);
  cluster.Ready(*in_flight, 2);
  CHECK(result.get().verdict == v1::REFUSED);
  CHECK(cluster.Residual() == std::vector<float>(30000, 1.0f));
  MutexLock lock(cluster.fake.mu);
  CHECK(cluster.fake.pushes.size() == 3);
  for (const v1::PushRequest& push : cluster.fake.pushes) CHECK(push.null_verdict() == v1::REFUSED);
}

TEST_CASE("An abandoned push returns what it had not sent") {
  Cluster cluster(30000, 3, {v1::TOP_K, 0.5, 0}, GENERATE(By::kHost, By::kDevice));
  auto in_flight = cluster.New(std::vector<float>(30000, 1.0f), 1);  // a ticket that never comes
  cluster.Ready(*in_flight, 1);
  in_flight->push->NoMoreChunks();
  in_flight->push->Ready(cluster.ids[2]);  // too late
  in_flight->push->Abandon();
  CHECK(absl::IsCancelled(in_flight->Wait().status));
  CHECK(cluster.Error() == 0);
  MutexLock lock(cluster.fake.mu);
  CHECK(cluster.fake.pushes.empty());
}

TEST_CASE("A null push whose end nobody knows had sent nothing: all of its gradient is kept") {
  Cluster cluster(30000, 3, {v1::TOP_K, 0.5, 0}, GENERATE(By::kHost, By::kDevice));
  {
    MutexLock lock(cluster.fake.mu);
    cluster.fake.script.fail = [](const std::string&, const std::string&) { return absl::UnavailableError("gone"); };
  }
  cluster.runtime.caller.SetGiveUpAfter(absl::ZeroDuration());
  auto in_flight = cluster.New(std::vector<float>(30000, 1.0f), 1);
  cluster.AllReady(*in_flight);
  in_flight->push->MakeNull(v1::REFUSED, "its delay");
  in_flight->push->Release();
  CHECK(absl::IsUnavailable(in_flight->Wait().status));
  CHECK(cluster.Error() == 0);
}

TEST_CASE("A chunk that cannot be encoded goes as float32, from a device encoded as NaN, and the server refuses it") {
  const By by = GENERATE(By::kHost, By::kDevice);
  for (const v1::Encoding encoding : {v1::INT8, v1::TOP_K, v1::BF16}) {
    if (encoding == v1::BF16 && by == By::kDevice) break;  // the engine's own
    Cluster cluster(30000, 3, {encoding, 0.01, 0}, by);
    std::vector<float> gradient(30000, 1.0f);
    gradient[0] = kNaN;
    auto in_flight = cluster.New(gradient);
    cluster.AllReady(*in_flight);
    const PushResult result = in_flight->Wait();
    CHECK(result.verdict == v1::APPLIED);
    CHECK(result.partial);
    CHECK(result.refusal == "non-finite value");
    if (by == By::kDevice) CHECK(cluster.Error() == 0);
    MutexLock lock(cluster.fake.mu);
    REQUIRE(cluster.fake.pushes.size() == 3);
    for (const v1::PushRequest& push : cluster.fake.pushes) {
      CHECK(push.encoding() == (push.run().first_block() == 0 && by == By::kHost ? v1::F32 : encoding));
    }
  }
}

// The bytes of one push's requests, headers and all.
double PushBytes(const PushEncoding& encoding) {
  Random random(7);
  Cluster cluster(Placement::kChunkElements * 5 / 2, 2, encoding);
  auto in_flight = cluster.New(WholeNumbers(cluster.placement.elements(), random));
  cluster.AllReady(*in_flight);
  REQUIRE(in_flight->Wait().verdict == v1::APPLIED);
  MutexLock lock(cluster.fake.mu);
  return static_cast<double>(cluster.fake.push_bytes);
}

TEST_CASE("On the wire bf16 takes half of float32's bytes, int8 a quarter, top_k:0.01 less than a fortieth") {
  const double f32 = PushBytes({});
  CHECK(f32 > 4.0 * 2.5 * Placement::kChunkElements);
  CHECK(f32 / PushBytes({v1::BF16, 0, 0}) == Approx(2).epsilon(0.001));
  CHECK(f32 / PushBytes({v1::INT8, 0, 0}) == Approx(4).epsilon(0.001));
  CHECK(f32 / PushBytes({v1::TOP_K, 0.01, 0}) >= 40);
}

}  // namespace
}  // namespace leeway
