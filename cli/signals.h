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

  // From now on only SIGINT and SIGTERM end Wait. The end of a terminal is told by the system and by the shell in it,
  // that of a pipe with every line that is written: once it was heard, none of that is anybody's order.
  void HearOrdersOnly() { orders_only_ = true; }

 private:
  bool orders_only_ = false;
};

}  // namespace leeway
