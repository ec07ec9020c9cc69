#include "cli/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace leeway {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGWINCH};
constexpr std::size_t kCount = sizeof(kSignals) / sizeof(kSignals[0]);

int wake[2] = {-1, -1};  // written by the handler, read by Wait
struct sigaction before[kCount];

void Handle(int signal) {
  const int error = errno;
  const auto byte = static_cast<std::uint8_t>(signal);
  [[maybe_unused]] const ssize_t written = write(wake[1], &byte, 1);  // full: Wait will wake up anyway
  errno = error;
}

}  // namespace

SignalWaiter::SignalWaiter() {
  if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) return;  // without a pipe the signals keep their old meaning
  struct sigaction action = {};
  action.sa_handler = Handle;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kCount; ++i) {
    sigaction(kSignals[i], nullptr, &before[i]);
    if (before[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

SignalWaiter::~SignalWaiter() {
  if (wake[0] < 0) return;
  for (std::size_t i = 0; i < kCount; ++i) sigaction(kSignals[i], &before[i], nullptr);
  close(wake[0]);
  close(wake[1]);
  wake[0] = wake[1] = -1;
}

int SignalWaiter::Wait(absl::Duration timeout) {
  pollfd ready = {wake[0], POLLIN, 0};
  poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(0, absl::ToInt64Milliseconds(timeout))));
  std::uint8_t signal = 0;
  int ending = 0;
  while (read(wake[0], &signal, 1) == 1) {
    const bool order = signal == SIGINT || signal == SIGTERM;
    const bool closed = signal == SIGHUP || signal == SIGPIPE;
    if ((order || (closed && !orders_only_)) && ending == 0) ending = signal;
  }
  return ending;
}

}  // namespace leeway
