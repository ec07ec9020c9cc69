// Waiter: how code that may block waits for an answer: the seam by which a simulation lets others go on meanwhile.
// OnceEvent: what it waits for. AwaitEvent, Pause: waits that end early when they are told to.
//
// Thread safety: every method, from any thread.
#pragma once

#include <functional>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace leeway {

// Happens once.
class OnceEvent {
 public:
  void Happen();
  bool happened();
  // Blocks until it has, or for `most`.
  void WaitFor(absl::Duration most);

 private:
  Mutex mu_;
  CondVar changed_;
  bool happened_ LEEWAY_GUARDED_BY(mu_) = false;
};

class Waiter {
 public:
  virtual ~Waiter() = default;
  virtual Instant Now() const = 0;
  // Returns when `event` has happened or `most` has passed; it may return earlier.
  virtual void Wait(OnceEvent& event, absl::Duration most) = 0;

  // Blocks the thread, by the machine's monotonic clock.
  static Waiter* Real();
};

// Until `event` has happened, or for `most`. False: `go_on` (empty: always), which is asked some 50 times a second,
// says no.
bool AwaitEvent(OnceEvent& event, absl::Duration most, const std::function<bool()>& go_on,
                Waiter* waiter = Waiter::Real());

// As much time, for nothing.
bool Pause(absl::Duration time, const std::function<bool()>& go_on, Waiter* waiter = Waiter::Real());

}  // namespace leeway
