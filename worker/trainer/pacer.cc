#include "worker/trainer/pacer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/hash.h"

namespace leeway {

absl::StatusOr<SlowSteps> ParseSlowSteps(const std::string& text) {
  SlowSteps slow;
  if (text.empty()) return slow;
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const bool numbers =
      parts.size() == 2 && absl::SimpleAtod(parts[0], &slow.fraction) && absl::SimpleAtod(parts[1], &slow.factor);
  const bool in_range = slow.fraction >= 0 && slow.fraction <= 1 && slow.factor >= 1 && std::isfinite(slow.factor);
  if (numbers && in_range) return slow;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\": allowed: FRACTION:FACTOR with a fraction in [0, 1] and a factor >= 1, or nothing"));
}

bool Pacer::active() const {
  return options_.pace > absl::ZeroDuration() || options_.jitter > 0 || options_.straggle > 1 ||
         (options_.slow_steps.fraction > 0 && options_.slow_steps.factor > 1);
}

absl::Duration Pacer::Rest(std::uint64_t step, absl::Duration computed) const {
  const std::uint64_t random = HashCombine(options_.seed, step);
  absl::Duration lasting = std::max(computed, options_.pace) * options_.straggle;
  if (UnitUniform(random) < options_.slow_steps.fraction) lasting *= options_.slow_steps.factor;
  if (options_.jitter > 0) {
    const absl::Duration mean = options_.jitter * (options_.pace > absl::ZeroDuration() ? options_.pace : computed);
    lasting += mean * -std::log1p(-UnitUniform(Mix64(random)));  // the inverse of the exponential's distribution
  }
  return std::max(lasting - computed, absl::ZeroDuration());
}

}  // namespace leeway
