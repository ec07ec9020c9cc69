// Mutex, MutexLock, CondVar: std::mutex and std::condition_variable with clang's lock annotations.
//
// absl::Mutex is not used: thread sanitizer reports false races on the uninstrumented system library,
// while it understands std::mutex. Checked by `bazel build --config=thread-safety`.
//
// Thread safety: these types are the synchronization themselves.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define LEEWAY_TSA(x) __attribute__((x))
#else
#define LEEWAY_TSA(x)
#endif

#define LEEWAY_GUARDED_BY(x) LEEWAY_TSA(guarded_by(x))
#define LEEWAY_REQUIRES(...) LEEWAY_TSA(requires_capability(__VA_ARGS__))
#define LEEWAY_EXCLUDES(...) LEEWAY_TSA(locks_excluded(__VA_ARGS__))
#define LEEWAY_ACQUIRE(...) LEEWAY_TSA(acquire_capability(__VA_ARGS__))
#define LEEWAY_RELEASE(...) LEEWAY_TSA(release_capability(__VA_ARGS__))
#define LEEWAY_NO_THREAD_SAFETY_ANALYSIS LEEWAY_TSA(no_thread_safety_analysis)

namespace leeway {

class LEEWAY_TSA(capability("mutex")) Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() LEEWAY_ACQUIRE() { mu_.lock(); }
  void Unlock() LEEWAY_RELEASE() { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

class LEEWAY_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mu) LEEWAY_ACQUIRE(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() LEEWAY_RELEASE() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

// Waits always sit in a loop that checks the condition: wake-ups may be spurious.
class CondVar {
 public:
  void Wait(Mutex& mu) LEEWAY_REQUIRES(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // Returns false when `deadline` passed.
  bool WaitUntil(Mutex& mu, std::chrono::steady_clock::time_point deadline) LEEWAY_REQUIRES(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    const bool in_time = cv_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace leeway
