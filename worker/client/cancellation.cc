#include "worker/client/cancellation.h"

#include <utility>

namespace leeway {

void Cancellation::Cancel() {
  std::vector<std::function<void()>> listeners;
  {
    MutexLock lock(mu_);
    cancelled_ = true;
    listeners.swap(listeners_);
  }
  for (const auto& listener : listeners) listener();
}

bool Cancellation::cancelled() const {
  MutexLock lock(mu_);
  return cancelled_;
}

void Cancellation::AddListener(std::function<void()> fn) {
  {
    MutexLock lock(mu_);
    if (!cancelled_) {
      listeners_.push_back(std::move(fn));
      return;
    }
  }
  fn();
}

}  // namespace leeway
