#include "server/max_delay.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

// floor(sqrt(value)), exactly: a double does not hold every value.
std::uint64_t Root(std::uint64_t value) {
  auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(value)));
  while (root > 0 && root > value / root) --root;
  while (root + 1 <= value / (root + 1)) ++root;
  return root;
}

}  // namespace

bool SetMaxDelay(const std::string& text, v1::Policy* policy) {
  std::int64_t value = 1;
  const bool sqrt = text == "sqrt";
  if (!sqrt && !absl::SimpleAtoi(text, &value)) return false;
  policy->set_max_delay(value);
  policy->set_max_delay_sqrt(sqrt);
  return true;
}

std::string MaxDelayText(const v1::Policy& policy) {
  return policy.max_delay_sqrt() ? "sqrt" : absl::StrCat(policy.max_delay());
}

std::optional<std::uint64_t> DelayLimit(const v1::Policy& policy, std::uint64_t accepted) {
  if (policy.max_delay() < 0) return std::nullopt;
  const auto least = static_cast<std::uint64_t>(policy.max_delay());
  return policy.max_delay_sqrt() ? std::max(least, Root(accepted)) : least;
}

}  // namespace leeway
