// Mailbox: the one thing that a training thread waits on. Callbacks post what has happened; the training thread
// runs it between its steps, so that a session's state belongs to one thread.
//
// Thread safety: Post and Wake from any thread; RunUntil and Poll from the owner's thread.
// The queue is bounded by what is in flight: each call, timer and heartbeat posts once.
#pragma once

#include <deque>
#include <functional>

#include "absl/time/time.h"
#include "common/mutex.h"

namespace leeway {

class Mailbox {
 public:
  void Post(std::function<void()> fn);
  void Wake();

  // Runs what has been posted so far.
  void Poll();

  // Runs what is posted until `done` returns true; it is asked after each wake-up. False: `limit` passed first.
  bool RunUntil(const std::function<bool()>& done, absl::Duration limit = absl::InfiniteDuration());

 private:
  Mutex mu_;
  CondVar changed_;
  bool woken_ LEEWAY_GUARDED_BY(mu_) = false;
  std::deque<std::function<void()>> posted_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
