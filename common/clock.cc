#include "common/clock.h"

#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "common/mutex.h"

namespace leeway {
namespace {

class SystemClock final : public Clock {
 public:
  SystemClock() : thread_([this] { Loop(); }) {}

  ~SystemClock() override { Stop(); }

  void Stop() override {
    {
      MutexLock lock(mu_);
      stopping_ = true;
      timers_.clear();
      due_.clear();
    }
    wake_.NotifyAll();
    if (thread_.joinable()) thread_.join();
  }

  Instant Now() const override {
    return {std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1)};
  }

  std::uint64_t RunAt(Instant when, std::function<void()> fn) override {
    MutexLock lock(mu_);
    const std::uint64_t id = next_id_++;
    if (stopping_) return id;
    const auto timer = timers_.emplace(std::pair(when, id), std::move(fn)).first;
    due_[id] = when;
    // Otherwise the thread wakes early enough: a deadline that is never reached costs no switch of threads.
    if (timer == timers_.begin()) wake_.NotifyAll();
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

 private:
  void Loop() LEEWAY_EXCLUDES(mu_) {
    mu_.Lock();
    while (!stopping_) {
      if (timers_.empty()) {
        wake_.Wait(mu_);
        continue;
      }
      const auto first = timers_.begin();
      const Instant when = first->first.first;
      if (Now() < when) {
        wake_.WaitUntil(mu_, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(when.nanos)));
        continue;
      }
      std::function<void()> fn = std::move(first->second);
      due_.erase(first->first.second);
      timers_.erase(first);
      mu_.Unlock();
      fn();
      fn = nullptr;  // what it captured goes before the lock is taken again
      mu_.Lock();
    }
    mu_.Unlock();
  }

  Mutex mu_;
  CondVar wake_;
  bool stopping_ LEEWAY_GUARDED_BY(mu_) = false;
  std::uint64_t next_id_ LEEWAY_GUARDED_BY(mu_) = 1;
  std::map<std::pair<Instant, std::uint64_t>, std::function<void()>> timers_ LEEWAY_GUARDED_BY(mu_);
  std::map<std::uint64_t, Instant> due_ LEEWAY_GUARDED_BY(mu_);
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<Clock> MakeSystemClock() { return std::make_unique<SystemClock>(); }

}  // namespace leeway
