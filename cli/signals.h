// SignalWaiter: waits for the signals that end or wake a foreground program, instead of dying from them.
//
// Thread safety: one watcher per process, used by one thread; the signals may arrive on any.
#pragma once

#include "absl/time/time.h"

namespace leeway {

class SignalWaiter {
 public:
  // From here on SIGINT, SIGTERM, SIGHUP and SIGPIPE end Wait instead of the process (unless they were
  // ignored before, as nohup does), and SIGCHLD and SIGWINCH wake it.
  SignalWaiter();
  ~SignalWaiter();  // as it was before
  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;

  // Sleeps until a signal comes or `timeout` has passed. Returns the ending signal that came, or 0.
  int Wait(absl::Duration timeout);
};

}  // namespace leeway
