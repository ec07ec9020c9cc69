// PumpedExecutor: an Executor without threads: what is posted runs, in order, when the test says so.
//
// Thread safety: Post from any thread, the rest from one.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>

#include "common/executor.h"
#include "common/mutex.h"

namespace leeway {

class PumpedExecutor final : public Executor {
 public:
  void Post(std::function<void()> fn) override {
    MutexLock lock(mu_);
    queue_.push_back(std::move(fn));
  }

  // Runs the first function; false when there is none.
  bool RunOne() {
    std::function<void()> fn;
    {
      MutexLock lock(mu_);
      if (queue_.empty()) return false;
      fn = std::move(queue_.front());
      queue_.pop_front();
    }
    fn();
    return true;
  }

  void RunAll() {
    while (RunOne()) {
    }
  }

  std::size_t size() {
    MutexLock lock(mu_);
    return queue_.size();
  }

 private:
  Mutex mu_;
  std::deque<std::function<void()>> queue_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
