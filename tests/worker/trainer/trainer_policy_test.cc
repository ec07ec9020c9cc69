// A trainer whose cluster changes its policy, or drains it.
#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <set>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "tests/catch.h"
#include "tests/worker/trainer/trainer_bench.h"

namespace leeway {
namespace {

// A model whose gradients take their time.
class SlowModel : public Model {
 public:
  explicit SlowModel(Model& model) : model_(model) {}
  const Manifest& manifest() const override { return model_.manifest(); }
  absl::Status Prepare(Backend& backend, int max_batch) override { return model_.Prepare(backend, max_batch); }
  absl::Status Step(Stream& stream, DevicePtr<const float> weights, DevicePtr<float> gradients, const Batch& batch,
                    const StepOptions& options, const GradientReady& ready, StepResult* result) override {
    RETURN_IF_ERROR(model_.Step(stream, weights, gradients, batch, options, {}, result));
    absl::SleepFor(absl::Milliseconds(5));
    ++steps;
    // (The gradients have been final for a while.)
    for (std::size_t i = manifest().tensors().size(); ready && i-- > 0;) ready(i);
    return absl::OkStatus();
  }
  absl::Status Evaluate(Stream& stream, DevicePtr<const float> weights, const Batch& batch,
                        StepResult* result) override {
    return model_.Evaluate(stream, weights, batch, result);
  }

  std::atomic<std::uint64_t> steps{0};

 private:
  Model& model_;
};

TEST_CASE("A step obeys the policy that its weights were read under, whatever else the worker has heard") {
  v1::Policy before = Leased(-1);
  before.set_number(1);
  v1::Policy after = before;
  after.set_number(2);
  after.set_max_delay(5);
  Bench bench(before, 2, 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.policy = [&before, &after](const v1::PullRequest& pull) {
      return pull.clock() < 4 ? &before : &after;
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.committed == kRecords);
  std::set<std::uint64_t> with, without;
  for (const v1::PushRequest& push : bench.fake.pushes) (push.has_ticket() ? with : without).insert(push.clock());
  CHECK(without == std::set<std::uint64_t>{0, 1, 2, 3});
  REQUIRE_FALSE(with.empty());
  CHECK(*with.begin() == 4);
  // Once it has heard of the new one, it names it.
  CHECK(bench.fake.pulls.front().stamp().policy_number() == 1);
  CHECK(bench.fake.pulls.back().stamp().policy_number() == 2);
}

// Else a slow worker's gradient would have no delay, and those of fast ones, which wait for its serial, all.
TEST_CASE("A ticket is asked for when the gradient is there, so that its delay has what others did meanwhile") {
  const bool whole = GENERATE(false, true), paced = GENERATE(false, true);
  CAPTURE(whole, paced);
  v1::Policy policy = Leased(-1);
  policy.set_max_delay(5);
  policy.set_push_atomicity(whole ? v1::WHOLE : v1::STREAM);
  Bench bench(policy, 1, 1);
  SlowModel model(*bench.worker.model);
  Engine::Options options;
  options.batch = 16;
  options.weights_slots = options.gradient_slots = 2;
  options.features = bench.worker.data.features_per_record();
  bench.worker.engine = Engine::Make(*bench.worker.backend, model, options).value();
  if (paced) bench.options.pace.pace = absl::Milliseconds(10);
  std::uint64_t asked = 0, early = 0;
  std::map<std::uint64_t, absl::Time> pulled;
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.gate = [&](const v1::PullRequest& pull) {
      pulled.try_emplace(pull.clock(), absl::Now());
      return true;
    };
    bench.fake.script.ticket = [&](const v1::OpenPushRequest& open) {
      ++asked;
      early += model.steps <= open.clock();
      // A step begins when its weights are there, or later.
      if (paced && open.clock() == 0) early += absl::Now() - pulled.at(0) < bench.options.pace.pace;
      v1::Ticket ticket;
      ticket.set_serial(open.clock() + 1);
      ticket.set_rate_scale(1);
      return ticket;
    };
  }
  REQUIRE(bench.Run().ok());
  CHECK(asked == model.steps);
  CHECK(early == 0);
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.committed == kRecords);
}

// With delay_policy=dc a shard answers what has the same number with the same weights.
TEST_CASE("A pull for a step that was pulled before, and dropped since, has a higher number of its own") {
  v1::Policy policy = Leased(-1);
  policy.set_max_delay(5);
  policy.set_dc_lambda(0.04);
  Bench bench(policy, 1, 1);
  bench.options.max_steps = 12;
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.ticket = [](const v1::OpenPushRequest& open) -> absl::StatusOr<v1::Ticket> {
      if (open.clock() % 3 == 1) return absl::AbortedError("delay 5 is refused");
      v1::Ticket ticket;
      ticket.set_serial(open.clock() + 1);
      ticket.set_rate_scale(1);
      return ticket;
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  std::map<std::uint64_t, std::uint64_t> steps;               // by number
  std::map<std::uint64_t, std::set<std::uint64_t>> attempts;  // by step
  for (const v1::PullRequest& pull : bench.fake.pulls) {
    REQUIRE(pull.attempt() > 0);
    REQUIRE(steps.emplace(pull.attempt(), pull.clock()).first->second == pull.clock());
    attempts[pull.clock()].insert(pull.attempt());
  }
  int again = 0;
  std::uint64_t last = 0;
  for (const auto& [step, numbers] : attempts) {
    again += numbers.size() > 1;
    CHECK(*numbers.rbegin() > last);  // of the pull that the step was computed on
    last = *numbers.rbegin();
  }
  CHECK(again > 0);
}

TEST_CASE("Without a max_delay, delay_policy=dc asks for no tickets") {
  v1::Policy policy = Leased(-1);
  policy.set_dc_lambda(0.04);
  Bench bench(policy, 1, 1);
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE_FALSE(bench.fake.pushes.empty());
  for (const v1::PushRequest& push : bench.fake.pushes) CHECK_FALSE(push.has_ticket());
}

// Its null push would count as refused by its delay, and not towards quarantine.
TEST_CASE("A gradient that is not finite asks for its ticket like any other, which its null push carries") {
  v1::Policy policy = Leased(-1);
  policy.set_max_delay(5);
  policy.set_push_atomicity(v1::WHOLE);
  Bench bench(policy, 1, 1);
  bench.options.max_steps = 4;
  {
    MutexLock lock(bench.fake.mu);
    for (float& weight : bench.fake.weights) weight = std::numeric_limits<float>::infinity();
    bench.fake.script.ticket = [](const v1::OpenPushRequest& open) {
      v1::Ticket ticket;
      ticket.set_serial(open.clock() + 1);
      ticket.set_rate_scale(1);
      return ticket;
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE_FALSE(bench.fake.pushes.empty());
  for (const v1::PushRequest& push : bench.fake.pushes) {
    CHECK(push.null_verdict() == v1::REFUSED);
    CHECK(push.ticket().serial() == push.clock() + 1);
  }
}

TEST_CASE("A worker that is drained completes what is under way, hands back the rest, leaves, and does not come back") {
  Bench bench(Leased(4), 1, 2);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_lease_millis(150);  // heartbeats every 50 ms
    bench.fake.script.fail = [&bench](const std::string&, const std::string& method) {
      if (method == "ParameterServer/Push" && bench.fake.pushes.size() == 6) bench.fake.drain = true;
      return absl::OkStatus();
    };
    bench.fake.script.gate = [&bench](const v1::PullRequest& pull) { return !bench.fake.drain || pull.clock() < 8; };
  }
  REQUIRE(bench.Run().ok());
  CHECK(bench.cancellation.cancelled());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.joins.size() == 1);
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.leaves[0].reason() == "drained");
  CHECK_FALSE(bench.fake.leaves[0].returned().empty());
  std::set<std::uint64_t> pushed, committed;
  for (const v1::PushRequest& push : bench.fake.pushes) pushed.insert(push.clock());
  for (const v1::CommitDataRequest& commit : bench.fake.commits) committed.insert(commit.clock());
  CHECK(pushed == committed);
}

}  // namespace
}  // namespace leeway
