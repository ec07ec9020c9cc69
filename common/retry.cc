#include "common/retry.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/hash.h"

namespace leeway {
namespace {

constexpr char kRetryAfter[] = "leeway.v1/retry_after_millis";
constexpr char kLostConnection[] = "leeway.v1/lost_connection";

}  // namespace

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status);
}

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay) {
  status.SetPayload(kRetryAfter, absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(delay))));
  return status;
}

absl::Duration RetryAfter(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryAfter);
  std::int64_t millis = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &millis)) return absl::ZeroDuration();
  return std::clamp(absl::Milliseconds(millis), absl::ZeroDuration(), absl::Minutes(1));
}

absl::Status LostConnection(absl::string_view message) {
  absl::Status status = absl::UnavailableError(message);
  status.SetPayload(kLostConnection, absl::Cord());
  return status;
}

bool IsLostConnection(const absl::Status& status) { return status.GetPayload(kLostConnection).has_value(); }

absl::Duration Backoff::Next(const absl::Status& status) {
  state_ = Mix64(state_);
  if (const absl::Duration asked = RetryAfter(status); asked > absl::ZeroDuration()) {
    return asked * (1 + 0.5 * UnitUniform(state_));  // not before, and not all who were told so at once
  }
  const absl::Duration ceiling = std::min(kFirst * (std::int64_t{1} << std::min(attempts_++, 10)), kMost);
  return ceiling * (0.5 + 0.5 * UnitUniform(state_));
}

}  // namespace leeway
