#include "worker/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace leeway {

SignalWatcher::SignalWatcher(std::function<void()> on_first) : on_first_(std::move(on_first)) {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  pthread_sigmask(SIG_BLOCK, &watched, nullptr);
  signals_ = signalfd(-1, &watched, SFD_CLOEXEC);
  stop_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { Loop(); });
}

SignalWatcher::~SignalWatcher() {
  const std::uint64_t one = 1;
  if (write(stop_, &one, sizeof(one)) == sizeof(one)) thread_.join();
  close(signals_);
  close(stop_);
}

void SignalWatcher::Loop() {
  bool first = true;
  for (;;) {
    pollfd ready[] = {{signals_, POLLIN, 0}, {stop_, POLLIN, 0}};
    if (poll(ready, 2, -1) < 0) continue;
    if (ready[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signals_, &info, sizeof(info)) != sizeof(info)) continue;
    if (!first) {
      // As if nobody had watched: this thread alone takes the signal, with its default effect.
      sigset_t fatal;
      sigemptyset(&fatal);
      sigaddset(&fatal, static_cast<int>(info.ssi_signo));
      pthread_sigmask(SIG_UNBLOCK, &fatal, nullptr);
      raise(static_cast<int>(info.ssi_signo));
    }
    first = false;
    on_first_();
  }
}

}  // namespace leeway
