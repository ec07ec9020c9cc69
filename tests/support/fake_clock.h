// FakeClock: time that moves only when it is told to, and then fires the timers that are due, in order, on the
// teller's thread.
//
// Thread safety: every method, from any thread; Advance from one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"

namespace leeway {

class FakeClock final : public Clock {
 public:
  Instant Now() const override {
    MutexLock lock(mu_);
    return now_;
  }

  std::uint64_t RunAt(Instant when, std::function<void()> fn) override {
    MutexLock lock(mu_);
    const std::uint64_t id = next_id_++;
    if (stopped_) return id;
    timers_.emplace(std::pair(when, id), std::move(fn));
    due_[id] = when;
    return id;
  }

  bool Cancel(std::uint64_t timer) override {
    MutexLock lock(mu_);
    const auto it = due_.find(timer);
    if (it == due_.end()) return false;
    timers_.erase({it->second, timer});
    due_.erase(it);
    return true;
  }

  void Stop() override {
    MutexLock lock(mu_);
    stopped_ = true;
    timers_.clear();
    due_.clear();
  }

  void Advance(absl::Duration duration) { AdvanceTo(Now() + duration); }

  // Timers that a timer sets are fired too, if they are due by then.
  void AdvanceTo(Instant end) {
    while (FireFirst(end)) {
    }
    MutexLock lock(mu_);
    if (now_ < end) now_ = end;
  }

  // The time of the first timer.
  std::optional<Instant> NextTimer() const {
    MutexLock lock(mu_);
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first.first;
  }

  std::size_t timers() const {
    MutexLock lock(mu_);
    return timers_.size();
  }

 private:
  bool FireFirst(Instant end) {
    std::function<void()> fn;
    {
      MutexLock lock(mu_);
      if (timers_.empty() || end < timers_.begin()->first.first) return false;
      const auto first = timers_.begin();
      if (now_ < first->first.first) now_ = first->first.first;
      fn = std::move(first->second);
      due_.erase(first->first.second);
      timers_.erase(first);
    }
    fn();
    return true;
  }

  mutable Mutex mu_;
  Instant now_ LEEWAY_GUARDED_BY(mu_) = {1'000'000'000};
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  std::uint64_t next_id_ LEEWAY_GUARDED_BY(mu_) = 1;
  std::map<std::pair<Instant, std::uint64_t>, std::function<void()>> timers_ LEEWAY_GUARDED_BY(mu_);
  std::map<std::uint64_t, Instant> due_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
