#include "server/run_curves.h"

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace leeway {
namespace {

// What `now` has counted and `before` has not; all of it when it has counted anew meanwhile.
std::vector<std::uint64_t> Difference(const v1::Histogram& now, const v1::Histogram& before) {
  std::vector<std::uint64_t> counts(now.counts().begin(), now.counts().end());
  std::vector<std::uint64_t> fewer = counts;
  for (std::size_t i = 0; i < static_cast<std::size_t>(before.counts_size()); ++i) {
    if (i >= counts.size() || counts[i] < before.counts(static_cast<int>(i))) return counts;
    fewer[i] -= before.counts(static_cast<int>(i));
  }
  return fewer;
}

// The least value that at least `share` of all are not above; nothing where there are none.
std::optional<double> Percentile(const std::vector<std::uint64_t>& counts, double share) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  double seen = 0;
  for (std::size_t value = 0; value < counts.size(); ++value) {
    seen += static_cast<double>(counts[value]);
    if (counts[value] > 0 && seen >= share * total) return static_cast<double>(value);
  }
  return std::nullopt;
}

std::optional<double> PerSecond(std::uint64_t now, std::uint64_t before, absl::Duration time) {
  if (now < before || time <= absl::ZeroDuration()) return std::nullopt;
  return static_cast<double>(now - before) / absl::ToDoubleSeconds(time);
}

}  // namespace

std::optional<Scalars> RunCurves::Next(absl::Time now, const RunSample& sample) {
  const bool first = !before_;
  const RunSample before = before_.value_or(RunSample());
  const absl::Duration passed = first ? absl::ZeroDuration() : now - before_at_;
  before_ = sample;
  before_at_ = now;
  const bool trained =
      sample.training && (!before.training || sample.training->seconds() != before.training->seconds());
  const bool evaluated =
      sample.evaluation && (!before.evaluation || sample.evaluation->seconds() != before.evaluation->seconds());
  if (sample.steps == before.steps && !trained && !evaluated) return std::nullopt;

  Scalars out;
  out.step = static_cast<std::int64_t>(sample.steps);
  const auto add = [&out](const char* tag, std::optional<double> value) {
    if (value) out.values.emplace_back(tag, *value);
  };
  if (trained) {
    add("train/loss", sample.training->loss());
    add("train/accuracy", sample.training->accuracy());
  }
  add("train/lr", sample.rate);
  if (evaluated) {
    add("eval/loss", sample.evaluation->loss());
    add("eval/accuracy", sample.evaluation->accuracy());
  }
  add("perf/examples_per_sec", PerSecond(sample.samples, before.samples, passed));
  add("perf/push_bytes_per_sec", PerSecond(sample.stats.push_bytes(), before.stats.push_bytes(), passed));
  add("perf/pull_bytes_per_sec", PerSecond(sample.stats.pull_bytes(), before.stats.pull_bytes(), passed));
  const std::vector<std::uint64_t> delay = Difference(sample.stats.delay(), before.stats.delay());
  add("ps/staleness_p50", Percentile(delay, 0.5));
  add("ps/staleness_p99", Percentile(delay, 0.99));
  add("ps/clock_gap_p99", Percentile(Difference(sample.stats.gap(), before.stats.gap()), 0.99));
  add("ps/live_workers", static_cast<double>(sample.live_workers));
  return out;
}

}  // namespace leeway
