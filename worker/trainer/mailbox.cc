#include "worker/trainer/mailbox.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace leeway {

void Mailbox::Post(std::function<void()> fn) {
  {
    MutexLock lock(mu_);
    posted_.push_back(std::move(fn));
  }
  changed_.NotifyAll();
}

void Mailbox::Wake() {
  {
    MutexLock lock(mu_);
    woken_ = true;
  }
  changed_.NotifyAll();
}

void Mailbox::Poll() {
  std::deque<std::function<void()>> now;
  {
    MutexLock lock(mu_);
    woken_ = false;
    now.swap(posted_);
  }
  for (const std::function<void()>& fn : now) fn();
}

bool Mailbox::RunUntil(const std::function<bool()>& done, absl::Duration limit) {
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(std::min(limit, absl::Hours(24 * 365)));
  for (;;) {
    Poll();
    if (done()) return true;
    MutexLock lock(mu_);
    while (posted_.empty() && !woken_) {
      if (!changed_.WaitUntil(mu_, deadline)) return false;
    }
  }
}

}  // namespace leeway
