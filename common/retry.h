// Backoff: how long to wait before the next attempt; RetryAfter: the delay a server asked for; LostConnection: whether
// a server answered at all.
//
// Thread safety: as an int. No clock of its own: the caller waits.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace leeway {

// UNAVAILABLE, DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED may succeed when they are tried again: every
// request of the protocol is idempotent.
bool IsRetryable(const absl::Status& status);

// Attaches to, and reads from, a status the delay after which the server wants to be asked again.
absl::Status WithRetryAfter(absl::Status status, absl::Duration delay);
absl::Duration RetryAfter(const absl::Status& status);  // zero: none was asked for

// UNAVAILABLE of the carrier itself: nobody is reached, or the connection has ended. It is told from an UNAVAILABLE
// that a server answered, over a connection that is as good as before.
absl::Status LostConnection(absl::string_view message);
bool IsLostConnection(const absl::Status& status);

// Exponential, with equal jitter (Brooker 2015): half of the wait is random, so that workers which failed together do
// not come back together.
class Backoff {
 public:
  static constexpr absl::Duration kFirst = absl::Milliseconds(20);
  static constexpr absl::Duration kMost = absl::Seconds(2);  // a `ps` that came back is found within this

  explicit Backoff(std::uint64_t seed) : state_(seed) {}

  // The wait before the next attempt, after one that failed with `status`.
  absl::Duration Next(const absl::Status& status);
  void Reset() { attempts_ = 0; }

 private:
  std::uint64_t state_;
  int attempts_ = 0;
};

}  // namespace leeway
