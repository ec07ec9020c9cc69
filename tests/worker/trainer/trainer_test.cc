#include "worker/trainer/trainer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/worker/trainer/trainer_bench.h"
#include "worker/trainer/work_source.h"

namespace leeway {
namespace {

TEST_CASE("A worker trains on every record of every epoch, learns, reports and leaves, at any depth") {
  for (const int depth : {0, 1, 3}) {
    Bench bench(Leased(4), depth);
    REQUIRE(bench.Run().ok());
    MutexLock lock(bench.fake.mu);
    CHECK(bench.fake.committed == 2 * kRecords);
    REQUIRE(bench.fake.leaves.size() == 1);
    CHECK(bench.fake.leaves[0].returned().empty());
    bench.CheckPushes(0, bench.fake.joins[0].incarnation());
    REQUIRE_FALSE(bench.fake.reports.empty());
    const v1::Progress& last = bench.fake.reports.back().progress();
    CHECK(last.samples() == 2 * kRecords);
    CHECK(last.pushes_applied() == last.steps());
    CHECK(last.correct() > last.samples() * 6 / 10);
    CHECK(last.epoch() == 1);
    for (const v1::PullRequest& pull : bench.fake.pulls) {
      const auto lag = static_cast<std::uint64_t>(depth);
      REQUIRE(pull.own_clock() == (pull.clock() < lag ? 0 : pull.clock() - lag));
    }
    std::uint64_t samples = 0;
    for (const v1::CommitDataRequest& commit : bench.fake.commits) samples += commit.samples();
    CHECK(samples == 2 * kRecords);
  }
}

// The network may bring an attempt late, when there is data again (coordinator_data_test.cc).
TEST_CASE("A worker asks for data under the same number until it gets some") {
  Bench bench(Leased(4), 1);
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  std::uint64_t given = 0;
  bool without = false;
  for (const auto& [request, range] : bench.fake.acquires) {
    CHECK(request.request() == given + 1);
    given += range ? 1 : 0;
    without = without || !range;
  }
  CHECK(without);
}

TEST_CASE("Depth 0 with one worker is plain SGD: the same steps computed in a loop give the same weights") {
  Bench bench(Leased(0), 0, 1);
  REQUIRE(bench.Run().ok());
  // The loop: batches as the leases cut them.
  SmallWorker plain(kRecords, 16, 1);
  std::vector<float> weights(plain.manifest().elements(), 0.0f);
  WorkSource::Options shares;
  shares.policy = Leased(0);
  shares.num_records = kRecords;
  shares.samples_per_step = 16;
  WorkSource source = WorkSource::Make(shares).value();
  v1::DataRange all;
  all.set_end(kRecords);
  REQUIRE(source.Add(all).ok());
  Work work;
  while (source.Take(0, true, &work) == WorkSource::Answer::kWork) {
    std::copy(weights.begin(), weights.end(), plain.engine->weights(0));
    Engine::StepRequest request;
    request.records = work.batch.records;
    request.data = &plain.data;
    request.on_final = [](std::uint64_t, std::uint64_t) {};
    REQUIRE(plain.engine->Step(request).ok());
    plain.engine->FlushSender();
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] -= 0.1f * plain.engine->gradient(0)[i];
  }
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.weights == weights);
}

TEST_CASE("Whole pushes are clipped by their global norm") {
  v1::Policy policy = Leased(0);
  policy.set_clip_norm(1e-3);
  Bench bench(policy, 0, 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.rate = 1;
  }
  bench.options.max_steps = 1;
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  double squares = 0;
  for (const float w : bench.fake.weights) squares += static_cast<double>(w) * w;
  CHECK(std::sqrt(squares) == Approx(1e-3).epsilon(1e-4));
  CHECK(bench.fake.leaves[0].reason() == "--max_steps=1 is reached");
}

TEST_CASE("A gradient that is not finite is refused whole: null pushes, and its data is not committed") {
  v1::Policy policy = Leased(0);
  policy.set_push_atomicity(v1::WHOLE);
  Bench bench(policy, 0, 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.weights[0] = std::numeric_limits<float>::quiet_NaN();
  }
  bench.options.max_steps = 2;
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.pushes.size() == 4);
  for (const v1::PushRequest& push : bench.fake.pushes) CHECK(push.null_verdict() == v1::REFUSED);
  CHECK(bench.fake.committed == 0);
  REQUIRE(bench.fake.commits.size() == 2);
  CHECK_FALSE(bench.fake.commits[0].applied());
  CHECK(bench.fake.reports.back().progress().pushes_refused() == 2);
}

TEST_CASE("A refused ticket: null pushes, a fresh pull, the data again; in the end every record is trained on") {
  v1::Policy policy = Leased(-1);
  policy.set_max_delay(2);
  Bench bench(policy, 1, 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.ticket = [](const v1::OpenPushRequest& open) -> absl::StatusOr<v1::Ticket> {
      if (open.clock() % 3 == 1) return absl::AbortedError("delay 3 is refused");
      v1::Ticket ticket;
      ticket.set_serial(open.clock() + 1);
      ticket.set_rate_scale(1);
      return ticket;
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.committed == kRecords);
  for (const v1::PushRequest& push : bench.fake.pushes) {
    const bool refused = push.clock() % 3 == 1;
    REQUIRE((push.null_verdict() == v1::REFUSED) == refused);
    if (!refused) REQUIRE(push.ticket().serial() == push.clock() + 1);
  }
  bench.CheckPushes(0, bench.fake.joins[0].incarnation());
}

TEST_CASE("A worker whose lease ran out joins again under a new incarnation and goes on at its entry clock") {
  Bench bench(Leased(4), 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.fail = [&fake = bench.fake](const std::string&, const std::string& method) {
      // In the midst of training the cluster forgets the first incarnation.
      if (method == "ParameterServer/Push" && fake.pushes.size() == 12 && fake.expired.empty()) {
        fake.expired.insert(fake.joins[0].incarnation());
        fake.join.set_entry_clock(50);
        fake.ranges.clear();
        v1::DataRange rest;
        rest.set_end(kRecords);
        fake.ranges.push_back(rest);
        fake.committed = kRecords;
      }
      return absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.joins.size() == 2);
  CHECK(bench.fake.joins[0].incarnation() != bench.fake.joins[1].incarnation());
  bench.CheckPushes(50, bench.fake.joins[1].incarnation());
  CHECK(bench.fake.committed >= 2 * kRecords);
}

TEST_CASE("A worker that was cut off while it joined, for longer than its lease, joins under a new incarnation") {
  Bench bench(Leased(4), 1, 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.fail = [&fake = bench.fake](const std::string&, const std::string& method) -> absl::Status {
      if (method == "Coordinator/Join" && fake.calls[method] == 1) {
        return absl::FailedPreconditionError("join: incarnation a of worker 'w' has left or expired; join again");
      }
      return absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.calls["Coordinator/Join"] == 2);
  CHECK(bench.fake.committed == kRecords);
}

TEST_CASE("Preemption: the step is finished or dropped, what was leased is returned, the worker leaves") {
  Bench bench(Leased(4), 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.fail = [&bench](const std::string&, const std::string& method) {
      if (method == "ParameterServer/Push" && bench.fake.pushes.size() == 10) bench.cancellation.Cancel();
      return absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.leaves[0].reason() == "preempted");
  // Whatever was handed out is committed or returned.
  std::uint64_t returned = 0, left = 0;
  for (const v1::DataRange& range : bench.fake.leaves[0].returned()) returned += range.end() - range.begin();
  for (const v1::DataRange& range : bench.fake.ranges) left += range.end() - range.begin();
  CHECK(bench.fake.committed > 0);
  CHECK(bench.fake.committed + returned + left == 2 * kRecords);
}

TEST_CASE("Accumulation: one push of many micro-batches, weighed by all their samples") {
  Bench bench(Leased(4), 1, 1);
  bench.options.samples_per_step = 40;  // micro-batches of 16, 16, 8
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.committed == kRecords);
  CHECK(bench.fake.pushes[0].samples() == 40);
}

TEST_CASE("Encodings: the worker says them when it joins, uses them, and learns as it does without") {
  for (const double momentum : {0.0, 0.5}) {
    Bench bench(Leased(4), 1);
    bench.options.push_encoding = {v1::TOP_K, 0.3, momentum};
    bench.options.pull_encoding = v1::INT8;
    REQUIRE(bench.Run().ok());
    MutexLock lock(bench.fake.mu);
    REQUIRE(bench.fake.joins.size() == 1);
    CHECK(bench.fake.joins[0].push_encoding() == v1::TOP_K);
    CHECK(bench.fake.joins[0].pull_encoding() == v1::INT8);
    CHECK(bench.fake.joins[0].momentum_correction() == (momentum > 0));
    for (const v1::PushRequest& push : bench.fake.pushes) {
      REQUIRE((push.encoding() == v1::TOP_K || push.null_verdict() == v1::APPLIED));
    }
    for (const v1::PullRequest& pull : bench.fake.pulls) REQUIRE(pull.encoding() == v1::INT8);
    CHECK(bench.fake.deltas_given > bench.fake.pulls.size() / 2);
    CHECK(bench.fake.committed == 2 * kRecords);
    const v1::Progress& last = bench.fake.reports.back().progress();
    CHECK(last.correct() > last.samples() * 6 / 10);
  }
}

// `trained(policy, gradients)`, with and without clipping: the same weights whether the host encodes or the device.
template <typename Trained>
void CheckSameWeights(const Trained& trained, Engine::Gradients by_device) {
  v1::Policy clipped = Leased(0);
  clipped.set_clip_norm(0.5);
  for (const v1::Policy& policy : {Leased(0), clipped}) {
    const std::vector<float> expected = trained(policy, Engine::Gradients::kFloats);
    CHECK(std::any_of(expected.begin(), expected.end(), [](float w) { return w != 0; }));
    CHECK(trained(policy, by_device) == expected);
  }
}

TEST_CASE("Encodings: bf16 that the device converts gives the weights of bf16 that the client converts") {
  const auto trained = [](const v1::Policy& policy, Engine::Gradients gradients) {
    Bench bench(policy, 0, 1, gradients);
    bench.options.push_encoding.encoding = bench.options.pull_encoding = v1::BF16;
    REQUIRE(bench.Run().ok());
    MutexLock lock(bench.fake.mu);
    for (const v1::PushRequest& push : bench.fake.pushes) {
      REQUIRE((push.encoding() == v1::BF16 || push.null_verdict() == v1::APPLIED));
    }
    for (const v1::PullRequest& pull : bench.fake.pulls) REQUIRE(pull.encoding() == v1::BF16);
    return bench.fake.weights;
  };
  CheckSameWeights(trained, Engine::Gradients::kHalves);
}

TEST_CASE("Encodings: int8 and top_k on the device give the weights of those on the host, whatever is refused") {
  const PushEncoding encoding = GENERATE(PushEncoding{v1::INT8, 0, 0}, PushEncoding{v1::TOP_K, 0.1, 0});
  const auto trained = [&](const v1::Policy& policy, Engine::Gradients gradients) {
    Bench bench(policy, 0, 1, gradients);
    bench.options.push_encoding = encoding;
    bench.options.samples_per_step = 20;  // micro-batches of 16 and 4
    bench.options.max_steps = 10;         // of 15: before refused records come again, at a time that may differ
    {
      MutexLock lock(bench.fake.mu);
      bench.fake.script.verdict = [](const v1::PushRequest& push) {
        return push.has_run() && push.clock() % 4 == 1 ? v1::REFUSED : v1::VERDICT_NONE;
      };
    }
    REQUIRE(bench.Run().ok());
    MutexLock lock(bench.fake.mu);
    for (const v1::PushRequest& push : bench.fake.pushes) {
      REQUIRE((push.encoding() == encoding.encoding || push.null_verdict() == v1::APPLIED));
    }
    return bench.fake.weights;
  };
  CheckSameWeights(trained, Engine::Gradients::kEncoded);
}

TEST_CASE("Encodings: a gradient that is not finite is refused when the device encodes it, too") {
  Bench bench(Leased(0), 0, 1, Engine::Gradients::kEncoded);
  bench.options.push_encoding.encoding = v1::INT8;
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.weights[0] = std::numeric_limits<float>::quiet_NaN();
  }
  bench.options.max_steps = 2;
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.committed == 0);
  CHECK(std::all_of(bench.fake.applied.begin(), bench.fake.applied.end(), [](double value) { return value == 0; }));
}

TEST_CASE("Encodings: what the device converts or encodes, trains at a depth") {
  const v1::Encoding encoding = GENERATE(v1::BF16, v1::INT8, v1::TOP_K);
  Bench bench(Leased(4), 2, 2, encoding == v1::BF16 ? Engine::Gradients::kHalves : Engine::Gradients::kEncoded);
  bench.options.push_encoding = {encoding, 0.3, 0};
  if (encoding == v1::BF16) bench.options.pull_encoding = v1::BF16;
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.committed == 2 * kRecords);
  const v1::Progress& last = bench.fake.reports.back().progress();
  CHECK(last.correct() > last.samples() * 6 / 10);
}

// A worker's first push is of an incarnation that the cluster has forgotten; its second one, of the same records at the
// same weights, is applied: one value of it, which comes back.
double AppliedAfterRejoining(Engine::Gradients gradients, const std::function<void(v1::JoinReply&)>& change) {
  Bench bench(Leased(4), 0, 2, gradients);
  bench.options.push_encoding = {v1::TOP_K, 0.01, 0};
  bench.options.max_steps = 2;
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.fail = [&](const std::string&, const std::string& method) {
      if (method == "ParameterServer/Push" && bench.fake.expired.empty()) {
        bench.fake.expired.insert(bench.fake.joins[0].incarnation());
        bench.fake.ranges.front().set_begin(0);
        change(bench.fake.join);
      }
      return absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.joins.size() == 2);
  double applied = 0;
  for (const double value : bench.fake.applied) applied += std::abs(value);
  return applied;
}

TEST_CASE("Encodings: what an incarnation held back, the next one sends, but not to another run or placement") {
  const auto gradients = GENERATE(Engine::Gradients::kFloats, Engine::Gradients::kEncoded);
  const double alone = AppliedAfterRejoining(gradients, [](v1::JoinReply& join) { join.set_run_id(78); });
  CHECK(alone > 0);
  CHECK(AppliedAfterRejoining(gradients, [](v1::JoinReply&) {}) == Approx(2 * alone));
  const auto one_shard = [](v1::JoinReply& join) {
    join.set_num_shards(1);
    join.mutable_shard_addresses()->RemoveLast();
  };
  CHECK(AppliedAfterRejoining(gradients, one_shard) == Approx(alone));
}

TEST_CASE("A cluster that is lost ends the worker with UNAVAILABLE") {
  Bench bench(Leased(4), 1);
  bench.options.identity.give_up_after = absl::Milliseconds(300);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.fail = [&fake = bench.fake](const std::string& address, const std::string&) -> absl::Status {
      if (address == "shard-1" && fake.pushes.size() > 10) return absl::UnavailableError("connection refused");
      return absl::OkStatus();
    };
  }
  const absl::Status status = bench.Run();
  CHECK(absl::IsUnavailable(status));
  CHECK(status.ToString().find("shard 1 at shard-1") != std::string::npos);
}

TEST_CASE("A worker that does not fit the cluster is told why") {
  Bench bench(Leased(4), 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_block_elements(123);
  }
  const absl::Status status = bench.Run();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(status.ToString().find("123") != std::string::npos);
}

TEST_CASE("Initial weights are uploaded when the cluster asks for them, and missing ones are an error") {
  Bench bench(Leased(4), 1, 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_put_weights(true);
  }
  CHECK(absl::IsInvalidArgument(bench.Run()));
}

}  // namespace
}  // namespace leeway
