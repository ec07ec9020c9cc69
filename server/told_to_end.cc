#include "server/told_to_end.h"

#include <signal.h>

namespace leeway {

bool ToldToEnd() {
  sigset_t pending;
  return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

}  // namespace leeway
