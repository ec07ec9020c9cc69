// Executor: where work goes that must not run inside a gRPC reaction or under a lock.
//
// Thread safety: every method may be called from any thread. Post never runs the function in line, so it
// may be called with locks held.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace leeway {

class Executor {
 public:
  virtual ~Executor() = default;

  // Runs `fn` later. Functions start in the order they were posted; with more than one thread they may
  // overlap. There is no limit here: who posts is limited (in-flight budgets, one timer per waiter).
  virtual void Post(std::function<void()> fn) = 0;

  // Runs what has been posted, and waits for it. What comes later is not run, but kept until the destructor: so of
  // several executors that post to one another, none is touched when it is gone.
  virtual void Stop() {}
};

// A pool of `threads` >= 1 threads. The destructor calls Stop.
std::unique_ptr<Executor> MakeThreadPool(std::size_t threads);

}  // namespace leeway
