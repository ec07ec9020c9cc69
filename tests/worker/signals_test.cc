#include "worker/signals.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>

#include "tests/catch.h"

namespace leeway {
namespace {

// Runs `body` in a process of its own; what waitpid says about it.
template <typename Body>
int StatusOf(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(7);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST_CASE("The first signal is a request") {
  const int status = StatusOf([] {
    std::promise<void> asked;
    SignalWatcher watcher([&] { asked.set_value(); });
    kill(getpid(), SIGTERM);
    asked.get_future().wait();
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("The second ends the process at once") {
  const int status = StatusOf([] {
    std::promise<void> asked;
    SignalWatcher watcher([&] { asked.set_value(); });
    kill(getpid(), SIGINT);
    asked.get_future().wait();
    kill(getpid(), SIGTERM);
    for (;;) pause();
  });
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}

}  // namespace
}  // namespace leeway
