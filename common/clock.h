// Clock: the seam for time. Policies take time as a parameter; only the code around them asks a Clock.
//
// Thread safety: every method may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/time/time.h"

namespace leeway {

// A point on a monotonic time line, in nanoseconds; the origin has no meaning.
struct Instant {
  std::int64_t nanos = 0;

  friend auto operator<=>(const Instant&, const Instant&) = default;
  friend Instant operator+(Instant t, absl::Duration d) { return {t.nanos + absl::ToInt64Nanoseconds(d)}; }
  friend Instant operator-(Instant t, absl::Duration d) { return {t.nanos - absl::ToInt64Nanoseconds(d)}; }
  friend absl::Duration operator-(Instant a, Instant b) { return absl::Nanoseconds(a.nanos - b.nanos); }
};

class Clock {
 public:
  virtual ~Clock() = default;

  virtual Instant Now() const = 0;

  // Runs `fn` once, no earlier than `when`, on a thread of the clock's own. `fn` must not block: it is
  // for time-outs and for handing work to an Executor. Returns a handle for Cancel.
  virtual std::uint64_t RunAt(Instant when, std::function<void()> fn) = 0;

  // Drops a timer that has not fired yet. Returns false when it has fired, is firing, or is unknown.
  virtual bool Cancel(std::uint64_t timer) = 0;

  // Drops every timer, waits for one that is firing, and from now on takes none: after it, nothing that a
  // timer would touch is touched.
  virtual void Stop() = 0;
};

// The machine's monotonic clock, with one timer thread. The destructor calls Stop.
std::unique_ptr<Clock> MakeSystemClock();

}  // namespace leeway
