#include "worker/trainer/worker_curves.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace leeway {

std::optional<Scalars> WorkerCurves::Next(absl::Time now, const WorkerMetrics::Totals& totals) {
  const WorkerMetrics::Totals before = before_;
  const double passed = before_at_ ? absl::ToDoubleSeconds(now - *before_at_) : 0;
  before_ = totals;
  before_at_ = now;
  if (totals.steps == before.steps && totals.evaluations == before.evaluations) return std::nullopt;
  Scalars out;
  out.step = static_cast<std::int64_t>(totals.steps);
  if (totals.evaluations > before.evaluations) {
    if (totals.steps == 0) out.step = static_cast<std::int64_t>(totals.evaluations);  // an evaluator has no steps
    out.values.emplace_back("eval/loss", totals.evaluation_loss);
    out.values.emplace_back("eval/accuracy", totals.evaluation_accuracy);
  }
  if (totals.steps == before.steps) return out;
  const auto steps = static_cast<double>(totals.steps - before.steps);
  const auto samples = static_cast<double>(totals.samples - before.samples);
  if (samples > 0) {  // NaN where none was finite
    const auto finite = static_cast<double>(totals.finite_samples - before.finite_samples);
    out.values.emplace_back("train/loss", (totals.loss_sum - before.loss_sum) / finite);
  }
  if (passed > 0) out.values.emplace_back("perf/examples_per_sec", samples / passed);
  const double seconds = totals.step_seconds - before.step_seconds;
  out.values.emplace_back("perf/step_seconds", seconds / steps);
  if (seconds > 0) {
    out.values.emplace_back("perf/blocked_share", (totals.blocked_seconds - before.blocked_seconds) / seconds);
  }
  return out;
}

std::unique_ptr<TensorBoardLog> WriteCurves(const std::string& directory, const std::string& name,
                                            const WorkerMetrics* metrics) {
  if (directory.empty()) return nullptr;
  TensorBoardLog::Options options;
  options.directory = absl::StrCat(directory, "/", FolderName(name));
  return std::make_unique<TensorBoardLog>(
      options, &RealFileSystem(),
      [metrics, curves = std::make_shared<WorkerCurves>()] { return curves->Next(absl::Now(), metrics->totals()); });
}

}  // namespace leeway
