// Readiness: whether a process does its work now, and if not, what it still lacks; for its /readyz.
//
// Thread safety: any thread.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "common/mutex.h"

namespace leeway {

class Readiness {
 public:
  explicit Readiness(absl::Status first) : status_(std::move(first)) {}

  void Set(absl::Status status) {
    MutexLock lock(mu_);
    status_ = std::move(status);
  }
  absl::Status Get() const {
    MutexLock lock(mu_);
    return status_;
  }

 private:
  mutable Mutex mu_;
  absl::Status status_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
