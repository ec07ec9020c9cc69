#include "server/blocking_call.h"

#include <algorithm>

namespace leeway {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(20);

}  // namespace

bool AwaitEvent(OnceEvent& event, absl::Duration most, const std::function<bool()>& go_on) {
  const Instant begin = Waiter::Real()->Now();
  while (!event.happened()) {
    if (go_on && !go_on()) return false;
    const absl::Duration left = most - (Waiter::Real()->Now() - begin);
    if (left <= absl::ZeroDuration()) break;
    event.WaitFor(std::min(kLook, left));
  }
  return true;
}

}  // namespace leeway
