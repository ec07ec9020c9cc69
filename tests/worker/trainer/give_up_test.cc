// A trainer whose rounds close without it: it gives its steps up.
#include <atomic>
#include <cstdint>
#include <functional>
#include <set>
#include <thread>

#include "absl/time/time.h"
#include "common/hash.h"
#include "tests/catch.h"
#include "tests/worker/trainer/trainer_bench.h"

namespace leeway {
namespace {

// Of rank 1 of three, in steps of 4: two epochs of its 100 records.
constexpr std::uint64_t kRounds = 50;

v1::Policy Rounds(std::uint32_t quorum, std::uint32_t workers) {
  v1::Policy policy;
  policy.set_aggregation(v1::ROUND);
  policy.set_round_quorum(quorum);
  policy.set_num_workers(workers);
  policy.set_max_delay(-1);
  policy.mutable_stop()->set_epochs(2);
  return policy;
}

void Prepare(Bench& bench, std::uint64_t rounds = kRounds, std::uint64_t samples_per_step = 4) {
  bench.options.samples_per_step = samples_per_step;
  MutexLock lock(bench.fake.mu);
  bench.fake.join.set_rounds_per_epoch(rounds / 2);
  bench.fake.join.set_rank(1);
  bench.fake.script.verdict = [](const v1::PushRequest&) { return v1::HELD; };
}

// Of the pushes that came.
std::set<std::uint64_t> Pushed(FakeCluster& fake) LEEWAY_REQUIRES(fake.mu) {
  std::set<std::uint64_t> clocks;
  for (const v1::PushRequest& push : fake.pushes) clocks.insert(push.clock());
  return clocks;
}

// A slow step rests for hours: the run ends only if each of them is given up.
TEST_CASE("A paced step is given up when its round closes, and the worker goes on at the open one") {
  Bench bench(Rounds(2, 3), 0);
  Prepare(bench);
  bench.options.pace.pace = absl::Microseconds(1);
  bench.options.pace.slow_steps = {0.4, 1e10};
  Pacer::Options pace = bench.options.pace;
  pace.seed = HashCombine(0, 1);  // as the session has it, by the run's seed and its rank
  const auto slow = [pacer = Pacer(pace)](std::uint64_t round) {
    return pacer.Rest(round, absl::ZeroDuration()) > absl::Minutes(1);
  };
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.open_round = [&slow](const v1::WatchRoundRequest& watch) {
      return slow(watch.round()) ? watch.round() + 2 : watch.round();
    };
  }
  std::set<std::uint64_t> expected, given_up;
  for (std::uint64_t round = 0; round < kRounds; round += slow(round) ? 2 : 1) {
    (slow(round) ? given_up : expected).insert(round);
  }
  REQUIRE(given_up.size() > 5);
  REQUIRE(expected.size() > 5);
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(Pushed(bench.fake) == expected);  // of the others nothing has left
  const v1::Progress& last = bench.fake.reports.back().progress();
  CHECK(last.steps() == expected.size());
  CHECK(last.steps_given_up() == given_up.size());
  CHECK(last.pushes_dropped() == given_up.size());
  CHECK(last.pushes_applied() == expected.size());
  std::uint64_t samples = 0;
  for (const v1::PushRequest& push : bench.fake.pushes) samples += push.has_run() ? push.samples() : 0;
  CHECK(last.samples() == samples);
  // Every step is committed, as what it came to; and each watched its own round.
  REQUIRE(bench.fake.commits.size() == expected.size() + given_up.size());
  for (const v1::CommitDataRequest& commit : bench.fake.commits) {
    CHECK(commit.applied() == (expected.count(commit.clock()) > 0));
  }
  std::set<std::uint64_t> watched;
  for (const v1::WatchRoundRequest& watch : bench.fake.watches) watched.insert(watch.round());
  CHECK(watched.size() == expected.size() + given_up.size());
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.leaves[0].finished());
}

// Tells the test of every micro-batch before it is computed.
class ToldModel : public Model {
 public:
  explicit ToldModel(Model& model) : model_(model) {}
  const Manifest& manifest() const override { return model_.manifest(); }
  absl::Status Prepare(Backend& backend, int max_batch) override { return model_.Prepare(backend, max_batch); }
  absl::Status Step(Stream& stream, DevicePtr<const float> weights, DevicePtr<float> gradients, const Batch& batch,
                    const StepOptions& options, const GradientReady& ready, StepResult* result) override {
    on_step(options);
    return model_.Step(stream, weights, gradients, batch, options, ready, result);
  }
  absl::Status Evaluate(Stream& stream, DevicePtr<const float> weights, const Batch& batch,
                        StepResult* result) override {
    return model_.Evaluate(stream, weights, batch, result);
  }
  std::function<void(const StepOptions&)> on_step;

 private:
  Model& model_;
};

struct ModelBench : Bench {
  ModelBench(const v1::Policy& policy, Engine::Gradients gradients) : Bench(policy, 0, 2, gradients) {
    Engine::Options engine;
    engine.batch = 16;
    engine.features = worker.data.features_per_record();
    engine.gradients = gradients;
    engine.gradient_slots = 1;
    worker.engine = Engine::Make(*worker.backend, model, engine).value();
  }
  ToldModel model{*worker.model};
};

TEST_CASE("A step is given up while it computes: what is left of it is not computed, and not counted") {
  const bool whole = GENERATE(false, true);
  const auto gradients = GENERATE(Engine::Gradients::kFloats, Engine::Gradients::kEncoded);
  v1::Policy policy = Rounds(1, 2);
  policy.set_push_atomicity(whole ? v1::WHOLE : v1::STREAM);
  ModelBench bench(policy, gradients);
  bench.options.push_encoding = {v1::TOP_K, 0.5, 0};
  // Rank 1 of two has 150 records: 6 rounds of 50, which are 4 micro-batches.
  Prepare(bench, 6, 50);
  std::uint64_t micro_batches = 0;
  std::atomic<bool> closed = false;
  bench.model.on_step = [&](const StepOptions& options) {
    if (++micro_batches != 2) return;
    closed = true;
    while (!options.GivenUp()) std::this_thread::yield();
  };
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.open_round = [&closed](const v1::WatchRoundRequest& watch) {
      return watch.round() == 0 && closed ? 3 : watch.round();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(Pushed(bench.fake) == std::set<std::uint64_t>{3, 4, 5});
  CHECK(micro_batches == 2 + 3 * 4);
  const v1::Progress& last = bench.fake.reports.back().progress();
  CHECK(last.steps() == 3);
  CHECK(last.steps_given_up() == 1);
  CHECK(last.pushes_dropped() == 1);
  CHECK(last.samples() == 3 * 50);
}

TEST_CASE("No round is watched that does not close without its worker; where it cannot be, steps are completed") {
  const v1::Policy policy = GENERATE(Rounds(0, 3), Rounds(3, 3), Leased(0), Rounds(2, 3));
  Bench bench(policy, 0);
  const bool rounds = policy.aggregation() == v1::ROUND;
  if (rounds) Prepare(bench);
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  const bool watches = rounds && policy.round_quorum() == 2;
  CHECK(bench.fake.calls["ParameterServer/WatchRound"] == (watches ? static_cast<int>(kRounds) : 0));
  const v1::Progress& last = bench.fake.reports.back().progress();
  if (rounds) CHECK(last.steps() == kRounds);
  CHECK(last.steps_given_up() == 0);
  CHECK(last.pushes_applied() == last.steps());
}

}  // namespace
}  // namespace leeway
