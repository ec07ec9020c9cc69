#include "common/retry.h"

#include <algorithm>
#include <set>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

TEST_CASE("retry: which errors may go away") {
  CHECK(IsRetryable(absl::UnavailableError("")));
  CHECK(IsRetryable(absl::DeadlineExceededError("")));
  CHECK(IsRetryable(absl::ResourceExhaustedError("")));
  for (const absl::Status& status : {absl::OkStatus(), absl::InvalidArgumentError(""), absl::AbortedError(""),
                                     absl::FailedPreconditionError(""), absl::InternalError("")}) {
    CHECK_FALSE(IsRetryable(status));
  }
}

TEST_CASE("retry: the server's delay travels with the status, within reason") {
  CHECK(RetryAfter(absl::UnavailableError("")) == absl::ZeroDuration());
  const absl::Status status = WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Milliseconds(70));
  CHECK(RetryAfter(status) == absl::Milliseconds(70));
  CHECK(status.message() == "full");
  CHECK(RetryAfter(WithRetryAfter(status, absl::Hours(9))) == absl::Minutes(1));
  CHECK(RetryAfter(WithRetryAfter(status, -absl::Seconds(9))) == absl::ZeroDuration());
  absl::Status odd = absl::UnavailableError("");
  odd.SetPayload("leeway.v1/retry_after_millis", absl::Cord("soon"));
  CHECK(RetryAfter(odd) == absl::ZeroDuration());
  // Who was told the same does not come back at the same moment, nor before it was told to.
  Backoff backoff(TestSeed());
  std::set<absl::Duration> waits;
  for (int i = 0; i < 10; ++i) waits.insert(backoff.Next(status));
  CHECK(waits.size() > 5);
  CHECK(*waits.begin() >= absl::Milliseconds(70));
  CHECK(*waits.rbegin() <= absl::Milliseconds(105));
}

TEST_CASE("Backoff: grows to its ceiling, with jitter, and starts over after a success") {
  Backoff a(1);
  Backoff b(2);
  const absl::Status down = absl::UnavailableError("down");
  absl::Duration ceiling = Backoff::kFirst;
  bool differ = false;
  for (int attempt = 0; attempt < 60; ++attempt) {
    const absl::Duration wait = a.Next(down);
    CHECK(wait >= ceiling / 2);
    CHECK(wait <= ceiling);
    differ = differ || wait != b.Next(down);
    ceiling = std::min(2 * ceiling, Backoff::kMost);
  }
  CHECK(differ);
  a.Reset();
  CHECK(a.Next(down) <= Backoff::kFirst);
}

}  // namespace
}  // namespace leeway
