// EndTimer: ends the process if it has not ended by itself in time, whatever it is stuck in: a disk or a peer that does
// not answer.
//
// Thread safety: any thread. Ownership: it has a thread of its own, which the destructor joins.
#pragma once

#include <thread>

#include "absl/time/time.h"
#include "common/mutex.h"

namespace leeway {

class EndTimer {
 public:
  EndTimer() : thread_([this] { Run(); }) {}
  ~EndTimer();

  // The process is gone `limit` from now. The first call counts.
  void EndWithin(absl::Duration limit);
  // With this exit code then; before the first call, with 2.
  void SetCode(int code);

 private:
  void Run();

  Mutex mu_;
  CondVar changed_;
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Duration limit_ LEEWAY_GUARDED_BY(mu_);
  absl::Time deadline_ LEEWAY_GUARDED_BY(mu_) = absl::InfiniteFuture();
  int code_ LEEWAY_GUARDED_BY(mu_) = 2;
  std::thread thread_;  // the last one: it uses the others
};

}  // namespace leeway
