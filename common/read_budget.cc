#include "common/read_budget.h"

namespace leeway {

bool ReadBudget::Take(std::size_t bytes) {
  MutexLock lock(mu_);
  const std::uint64_t ticket = next_ticket_++;
  while (!stopped_ && (ticket != turn_ || bytes > left_)) changed_.Wait(mu_);
  if (stopped_) return false;
  ++turn_;
  left_ -= bytes;
  changed_.NotifyAll();  // there may be room for the next as well
  return true;
}

void ReadBudget::Give(std::size_t bytes) {
  MutexLock lock(mu_);
  left_ += bytes;
  changed_.NotifyAll();
}

void ReadBudget::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  changed_.NotifyAll();
}

}  // namespace leeway
