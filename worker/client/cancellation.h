// Cancellation: somebody wants an end, a signal for instance. Set once; waits look at it and are woken by it.
//
// Thread safety: any thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/mutex.h"

namespace leeway {

class Cancellation {
 public:
  void Cancel();
  bool cancelled() const;
  // Called by Cancel as long as somebody has it.
  using Listener = std::shared_ptr<const std::function<void()>>;
  // `fn` is called by Cancel, or now if that has happened already.
  [[nodiscard]] Listener AddListener(std::function<void()> fn);

 private:
  mutable Mutex mu_;
  bool cancelled_ LEEWAY_GUARDED_BY(mu_) = false;
  std::vector<std::weak_ptr<Listener::element_type>> listeners_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
