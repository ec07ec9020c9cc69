#include "server/waiter.h"

#include <algorithm>
#include <chrono>

namespace leeway {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr absl::Duration kLook = absl::Milliseconds(20);

class RealWaiter final : public Waiter {
 public:
  Instant Now() const override {
    return {std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyClock::now().time_since_epoch()).count()};
  }
  void Wait(OnceEvent& event, absl::Duration most) override { event.WaitFor(most); }
};

}  // namespace

void OnceEvent::Happen() {
  MutexLock lock(mu_);
  happened_ = true;
  changed_.NotifyAll();
}

bool OnceEvent::happened() {
  MutexLock lock(mu_);
  return happened_;
}

void OnceEvent::WaitFor(absl::Duration most) {
  const SteadyClock::time_point until = SteadyClock::now() + absl::ToChronoNanoseconds(most);
  MutexLock lock(mu_);
  while (!happened_ && changed_.WaitUntil(mu_, until)) {
  }
}

Waiter* Waiter::Real() {
  static RealWaiter waiter;
  return &waiter;
}

bool AwaitEvent(OnceEvent& event, absl::Duration most, const std::function<bool()>& go_on, Waiter* waiter) {
  const Instant begin = waiter->Now();
  while (!event.happened()) {
    if (go_on && !go_on()) return false;
    const absl::Duration left = most - (waiter->Now() - begin);
    if (left <= absl::ZeroDuration()) break;
    waiter->Wait(event, std::min(kLook, left));
  }
  return true;
}

bool Pause(absl::Duration time, const std::function<bool()>& go_on, Waiter* waiter) {
  OnceEvent never;
  return AwaitEvent(never, time, go_on, waiter);
}

}  // namespace leeway
