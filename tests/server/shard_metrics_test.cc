#include "server/shard_metrics.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "server/histogram.h"
#include "tests/catch.h"
#include "tests/server/shard_fixture.h"

namespace leeway {
namespace {

void CheckLines(ShardFixture& f, const std::vector<std::string>& lines) {
  MetricsPage page;
  AddShardMetrics(&f.shard, nullptr, &page);
  const std::string text = page.Text();
  INFO(text);
  for (const std::string& line : lines) {
    INFO(line);
    CHECK(absl::StrContains(text, "\n" + line + "\n"));
  }
}

TEST_CASE("every value of a step histogram is in a bucket, the largest above the last bound") {
  LinearHistogram histogram;
  for (const std::uint64_t value : {0, 0, 1, 5, 6, 254, 255, 100000}) histogram.Add(value);
  const HistogramCounts counts = StepCounts(histogram.ToProto());
  REQUIRE(counts.counts.size() == counts.bounds.size() + 1);
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts.counts) total += count;
  CHECK(total == 8);
  CHECK(counts.counts[0] == 2);
  CHECK(counts.counts[1] == 1);
  CHECK(counts.bounds[5] == 6);
  CHECK(counts.counts[5] == 2);
  CHECK(counts.bounds.back() == 254);
  CHECK(counts.counts[counts.bounds.size() - 1] == 1);
  CHECK(counts.counts.back() == 2);
  CHECK(counts.sum == 0 + 0 + 1 + 5 + 6 + 254 + 255 + 100000);
}

TEST_CASE("Shard: metrics are its counters") {
  ShardFixture f(ExactPolicy(-1));
  CheckLines(f, {"ps_parameter_bytes 0", "ps_pushes_total{verdict=\"applied\"} 0"});
  f.Start(2);
  CHECK(f.PushValue(0, 0)->ok());
  CHECK(f.PushValue(0, 0)->ok());  // again
  f.PushValue(1, 0, std::numeric_limits<float>::infinity());
  CHECK(f.Pull(f.PullOf(0, 1, 1))->ok());
  CheckLines(f, {
                    "ps_shard_info{shard=\"0\",num_shards=\"1\"} 1",
                    "ps_shard_version 1",
                    "ps_pushes_total{verdict=\"applied\"} 1",
                    "ps_pushes_total{verdict=\"refused\"} 1",
                    "ps_duplicate_pushes_total 1",
                    "ps_nonfinite_gradients_total 1",
                    "ps_push_bytes_total 80000",
                    "ps_pull_bytes_total 40000",
                    "ps_parameter_bytes 40000",
                    "ps_optimizer_bytes 0",
                    "ps_inflight_bytes 0",
                    "ps_gradient_staleness_steps_count 1",
                    "ps_gradient_staleness_steps_bucket{le=\"0\"} 1",
                    "ps_clock_gap_steps_count 1",
                });
}

// One that is whole when its round closes, but not named: shard_round_test.cc.
TEST_CASE("Shard: a push that comes late for its round, whole or in part, counts as dropped once") {
  const std::uint64_t elements = GENERATE(kSmall, kLarge);
  const bool held = GENERATE(false, true), under_way = GENERATE(false, true);
  if (held && elements == kSmall) return;  // it would be whole
  CAPTURE(elements, held, under_way);
  v1::Policy policy = ExactPolicy(0, v1::ROUND);
  policy.set_num_workers(2);
  ShardFixture f(policy, elements);
  f.Start(2);
  f.PushValue(0, 0);
  if (held) f.Push(f.PushOf(1, 0, 1), Filled(f.Elements(1), 1));
  f.executor.RunAll();
  const auto push = [&f] { return f.Push(f.PushOf(1, 0, 0), Filled(f.Elements(0), 1)); };
  auto late = under_way ? push() : nullptr;
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.add_ranks(0);
  close.set_samples(1);
  REQUIRE(f.Publish().ok());
  if (!under_way) late = push();
  CHECK(late->message.verdict() == v1::DROPPED);
  CheckLines(f, {"ps_pushes_total{verdict=\"dropped\"} 1"});
  CHECK(push()->message.verdict() == v1::DROPPED);  // it is sent again
  CHECK(f.PushValue(1, 1)->message.verdict() == v1::HELD);
  CheckLines(f, {"ps_pushes_total{verdict=\"dropped\"} 1"});
}

}  // namespace
}  // namespace leeway
