#include "worker/trainer/eval_schedule.h"

#include <cmath>

namespace leeway {

bool EvalSchedule::Due(Instant now, std::uint64_t samples) {
  bool due = false;
  const double period = options_.every_epochs * static_cast<double>(options_.num_records);
  if (period > 0) {
    const auto periods = static_cast<std::uint64_t>(static_cast<double>(samples) / period);
    due = periods > periods_;
    periods_ = periods;
  }
  due = due || (options_.every_seconds > absl::ZeroDuration() && now - last_time_ >= options_.every_seconds);
  if (due) last_time_ = now;
  return due;
}

bool HasFigures(const v1::Evaluation& evaluation) {
  return !std::isnan(evaluation.loss()) && !std::isnan(evaluation.accuracy());
}

bool Better(const v1::Evaluation& candidate, const v1::Evaluation& best) {
  if (!HasFigures(candidate) || !HasFigures(best)) return HasFigures(candidate) && !HasFigures(best);
  if (candidate.accuracy() != best.accuracy()) return candidate.accuracy() > best.accuracy();
  return candidate.loss() < best.loss();
}

}  // namespace leeway
