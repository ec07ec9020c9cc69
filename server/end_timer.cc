#include "server/end_timer.h"

#include <spdlog/spdlog.h>

#include <chrono>

#include "absl/time/clock.h"
#include "common/end_process.h"

namespace leeway {

EndTimer::~EndTimer() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void EndTimer::EndWithin(absl::Duration limit) {
  MutexLock lock(mu_);
  if (deadline_ != absl::InfiniteFuture()) return;
  limit_ = limit;
  deadline_ = absl::Now() + limit;
  changed_.NotifyAll();
}

void EndTimer::SetCode(int code) {
  MutexLock lock(mu_);
  code_ = code;
}

void EndTimer::Run() {
  MutexLock lock(mu_);
  while (!stopped_) {
    if (deadline_ == absl::InfiniteFuture()) {
      changed_.Wait(mu_);
      continue;
    }
    const absl::Duration left = deadline_ - absl::Now();
    if (left <= absl::ZeroDuration()) {
      spdlog::warn("it ends without waiting any longer: {} are over (--drain_timeout)", absl::FormatDuration(limit_));
      EndProcess(code_);
    }
    changed_.WaitUntil(mu_, std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(left));
  }
}

}  // namespace leeway
