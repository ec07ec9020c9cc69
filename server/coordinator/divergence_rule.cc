#include "server/coordinator/divergence_rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace leeway {

void DivergenceRule::Restore(double trained, double evaluated) {
  if (std::isfinite(trained) && trained > 0) first_trained_ = trained;
  if (std::isfinite(evaluated) && evaluated > 0) first_evaluated_ = evaluated;
}

void DivergenceRule::Saved(std::uint64_t steps) {
  if (!judged_ && !saved_) last_good_steps_ = steps;
  saved_ = true;
}

bool DivergenceRule::Bad(double loss, std::optional<double>* first) const {
  if (!std::isfinite(loss)) return true;
  if (!*first) *first = loss;
  return loss > factor_ * **first;
}

void DivergenceRule::Trained(std::uint32_t worker, std::uint64_t incarnation, double loss_sum, std::uint64_t samples,
                             std::uint64_t steps, std::size_t trainers, std::uint64_t nonfinite) {
  if (factor_ == 0 || diverged()) return;
  Trainer& trainer = trainers_[worker];
  if (trainer.incarnation != incarnation) trainer = {.incarnation = incarnation};
  if (samples < trainer.samples + kSamples) return;
  const std::uint64_t of = samples - trainer.samples;
  const std::uint64_t without = nonfinite - std::min(nonfinite, trainer.nonfinite);
  const double loss = 2 * without >= of ? std::numeric_limits<double>::quiet_NaN()
                                        : (loss_sum - trainer.loss_sum) / static_cast<double>(of - without);
  trainer = {incarnation, loss_sum, samples, nonfinite, Bad(loss, &first_trained_)};
  std::size_t bad = 0;
  for (const auto& [id, other] : trainers_) bad += other.bad ? 1 : 0;
  if (2 * bad > trainers) {
    reason_ = absl::StrCat("the training loss of ", bad, " of ", trainers, " workers is not finite or above ",
                           factor_ * first_trained_.value_or(0), " (", factor_, " times the first); the last: ", loss);
  } else if (!trainer.bad) {
    judged_ = true;
    last_good_steps_ = steps;
  }
}

void DivergenceRule::Evaluated(double loss, std::uint64_t steps) {
  if (factor_ == 0 || diverged()) return;
  if (!Bad(loss, &first_evaluated_)) {
    judged_ = true;
    last_good_steps_ = steps;
    return;
  }
  reason_ = absl::StrCat("the evaluator's loss is ", loss, ", not finite or above ",
                         factor_ * first_evaluated_.value_or(0), " (", factor_, " times the first)");
}

}  // namespace leeway
