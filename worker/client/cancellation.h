// Cancellation: somebody wants an end, a signal for instance. Set once; waits look at it and are woken by it.
//
// Thread safety: any thread.
#pragma once

#include <functional>
#include <vector>

#include "common/mutex.h"

namespace leeway {

class Cancellation {
 public:
  void Cancel();
  bool cancelled() const;
  // `fn` is called by Cancel, or now if that has happened already. It stays until then.
  void AddListener(std::function<void()> fn);

 private:
  mutable Mutex mu_;
  bool cancelled_ LEEWAY_GUARDED_BY(mu_) = false;
  std::vector<std::function<void()>> listeners_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
