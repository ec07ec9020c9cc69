#include "common/strands.h"

#include <utility>

namespace leeway {

Strands::Strands(Executor& executor, std::size_t keys) : executor_(executor) {
  strands_.reserve(keys);
  for (std::size_t key = 0; key < keys; ++key) strands_.push_back(std::make_shared<Strand>());
}

void Strands::Post(std::size_t key, std::function<void()> fn) {
  const std::shared_ptr<Strand>& strand = strands_[key];
  {
    MutexLock lock(strand->mu);
    strand->queue.push_back(std::move(fn));
    if (strand->running) return;
    strand->running = true;
  }
  executor_.Post([strand] { Run(*strand); });
}

void Strands::Run(Strand& strand) {
  for (;;) {
    std::function<void()> fn;
    {
      MutexLock lock(strand.mu);
      if (strand.queue.empty()) {
        strand.running = false;
        return;
      }
      fn = std::move(strand.queue.front());
      strand.queue.pop_front();
    }
    fn();
  }
}

}  // namespace leeway
