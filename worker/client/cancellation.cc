#include "worker/client/cancellation.h"

#include <algorithm>
#include <utility>

namespace leeway {

void Cancellation::Cancel() {
  std::vector<std::weak_ptr<Listener::element_type>> listeners;
  {
    MutexLock lock(mu_);
    cancelled_ = true;
    listeners.swap(listeners_);
  }
  for (const auto& weak : listeners) {
    if (const Listener listener = weak.lock()) (*listener)();
  }
}

bool Cancellation::cancelled() const {
  MutexLock lock(mu_);
  return cancelled_;
}

Cancellation::Listener Cancellation::AddListener(std::function<void()> fn) {
  auto listener = std::make_shared<const std::function<void()>>(std::move(fn));
  {
    MutexLock lock(mu_);
    if (!cancelled_) {
      const auto gone = [](const auto& weak) { return weak.expired(); };
      listeners_.erase(std::remove_if(listeners_.begin(), listeners_.end(), gone), listeners_.end());
      listeners_.push_back(listener);
      return listener;
    }
  }
  (*listener)();
  return listener;
}

}  // namespace leeway
