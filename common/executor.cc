#include "common/executor.h"

#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace leeway {
namespace {

class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(std::size_t threads) {
    threads_.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
  }

  ~ThreadPool() override { Stop(); }

  void Stop() override {
    {
      MutexLock lock(mu_);
      stopping_ = true;
    }
    wake_.NotifyAll();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void Post(std::function<void()> fn) override {
    {
      MutexLock lock(mu_);
      queue_.push_back(std::move(fn));
    }
    wake_.NotifyOne();
  }

 private:
  void Loop() LEEWAY_EXCLUDES(mu_) {
    for (;;) {
      std::function<void()> fn;
      {
        MutexLock lock(mu_);
        while (queue_.empty() && !stopping_) wake_.Wait(mu_);
        if (queue_.empty()) return;
        fn = std::move(queue_.front());
        queue_.pop_front();
      }
      fn();
    }
  }

  Mutex mu_;
  CondVar wake_;
  bool stopping_ LEEWAY_GUARDED_BY(mu_) = false;
  std::deque<std::function<void()>> queue_ LEEWAY_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Executor> MakeThreadPool(std::size_t threads) { return std::make_unique<ThreadPool>(threads); }

}  // namespace leeway
