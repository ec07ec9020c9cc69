#include "server/shard_metrics.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/histogram.h"

namespace leeway {
namespace {

void AddPushes(const v1::ShardStats& stats, MetricsPage* page) {
  const auto count = [](std::uint64_t value) { return static_cast<double>(value); };
  const std::string pushes = "whole pushes of this shard by their verdict; dropped: too late for their round";
  page->Counter("ps_pushes_total", pushes, count(stats.pushes_applied()), {{"verdict", "applied"}});
  page->Counter("ps_pushes_total", pushes, count(stats.pushes_refused()), {{"verdict", "refused"}});
  page->Counter("ps_pushes_total", pushes, count(stats.pushes_dropped()), {{"verdict", "dropped"}});
  page->Counter("ps_partial_pushes_total", "pushes of which a part was applied and a part was not",
                count(stats.pushes_partial()));
  page->Counter("ps_duplicate_pushes_total", "chunks that had come before: a worker's repetitions",
                count(stats.chunks_duplicate()));
  page->Counter("ps_nonfinite_gradients_total", "chunks refused for a NaN or an infinity",
                count(stats.chunks_nonfinite()));
  const std::string corrections =
      "chunks under delay_policy=dc; unknown: the weights of at least one of its blocks, which was applied as it came";
  page->Counter("ps_corrections_total", corrections, count(stats.chunks_corrected()), {{"base", "known"}});
  page->Counter("ps_corrections_total", corrections, count(stats.chunks_uncorrected()), {{"base", "unknown"}});
  page->Histogram("ps_gradient_staleness_steps",
                  "delay of applied pushes: updates between the reading of their weights and their own",
                  StepCounts(stats.delay()));
  page->Histogram("ps_clock_gap_steps", "at each pull: clock of the fastest live worker minus that of the slowest",
                  StepCounts(stats.gap()));
}

void AddMemory(Shard* shard, const v1::ShardStats& stats, MetricsPage* page) {
  page->Gauge("ps_inflight_bytes", "gradients received and not applied, copies of weights not sent",
              static_cast<double>(stats.inflight_bytes()));
  page->Gauge("ps_held_bytes",
              "gradients that wait for their round to close, copies that differences and delay_policy=dc need",
              static_cast<double>(stats.held_bytes()));
  const std::shared_ptr<BlockStore> store = shard->store();
  const double weights =
      store == nullptr ? 0 : static_cast<double>(store->memory_bytes()) / static_cast<double>(1 + store->num_slots());
  const double slots = store == nullptr ? 0 : static_cast<double>(store->num_slots());
  page->Gauge("ps_parameter_bytes", "weights of this shard; 0 until it has them", weights);
  page->Gauge("ps_optimizer_bytes", "optimizer slots of this shard", weights * slots);
}

}  // namespace

HistogramCounts StepCounts(const v1::Histogram& histogram) {
  // The last bucket of a LinearHistogram holds everything above, and so is above the last bound here.
  HistogramCounts out{
      {0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, LinearHistogram::kBuckets - 2}, {}, 0};
  out.counts.resize(out.bounds.size() + 1);
  for (int value = 0; value < histogram.counts_size(); ++value) {
    const auto bucket = std::lower_bound(out.bounds.begin(), out.bounds.end(), value) - out.bounds.begin();
    out.counts[static_cast<std::size_t>(bucket)] += histogram.counts(value);
  }
  out.sum = histogram.sum();
  return out;
}

void AddShardMetrics(Shard* shard, Journal* journal, MetricsPage* page) {
  const v1::WatchRequest description = shard->Describe();
  const v1::ShardStats& stats = description.stats();
  page->Gauge(
      "ps_shard_info", "always 1; which shard this is", 1,
      {{"shard", absl::StrCat(description.shard_index())}, {"num_shards", absl::StrCat(description.num_shards())}});
  page->Gauge("ps_shard_version", "updates that the weights of this shard have had",
              static_cast<double>(stats.version()));
  AddPushes(stats, page);
  page->Counter("ps_push_bytes_total", "payload of accepted pushes, as it came",
                static_cast<double>(stats.push_bytes()));
  page->Counter("ps_pull_bytes_total", "payload of pulls, as it went", static_cast<double>(stats.pull_bytes()));
  AddMemory(shard, stats, page);
  if (journal == nullptr) return;
  page->Counter("ps_journal_bytes_total", "written to the journal by this process",
                static_cast<double>(journal->bytes()));
  page->Gauge("ps_journal_writable", "0: the disk is full, fails or is too slow, and pushes wait for it",
              journal->Ready().ok() ? 1 : 0);
}

}  // namespace leeway
