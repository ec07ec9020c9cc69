#include "server/byte_budget.h"

#include <algorithm>

namespace leeway {

void ByteBudget::SetLimit(std::uint64_t bytes, std::size_t workers) {
  MutexLock lock(state_->mu);
  state_->limit = bytes;
  state_->share = bytes / std::max<std::size_t>(workers, 1);
}

ByteBudget::Charge ByteBudget::Take(std::uint32_t worker, std::uint64_t bytes) {
  MutexLock lock(state_->mu);
  const auto it = state_->workers.find(worker);
  const std::uint64_t held = it == state_->workers.end() ? 0 : it->second.bytes;
  const bool in_share = held + bytes <= state_->share && state_->total + bytes <= state_->limit;
  if (held == 0 || held + bytes <= kLeast || in_share) return Grant(worker, bytes);
  ++it->second.refusals;
  return nullptr;
}

ByteBudget::Charge ByteBudget::TakeAnyway(std::uint32_t worker, std::uint64_t bytes) {
  MutexLock lock(state_->mu);
  return Grant(worker, bytes);
}

ByteBudget::Charge ByteBudget::Grant(std::uint32_t worker, std::uint64_t bytes) {
  if (bytes == 0) return state_;
  Worker& entry = state_->workers[worker];
  entry.bytes += bytes;
  entry.refusals = 0;
  state_->total += bytes;
  // The pointer only has to be one that is not null.
  return Charge(state_.get(), [state = state_, worker, bytes](const void*) {
    MutexLock lock(state->mu);
    state->total -= bytes;
    const auto it = state->workers.find(worker);
    it->second.bytes -= bytes;
    if (it->second.bytes == 0) state->workers.erase(it);
  });
}

absl::Duration ByteBudget::Delay(std::uint32_t worker) const {
  MutexLock lock(state_->mu);
  const auto it = state_->workers.find(worker);
  const std::uint64_t refusals = it == state_->workers.end() ? 1 : std::max<std::uint64_t>(it->second.refusals, 1);
  return std::min(kDelay * static_cast<std::int64_t>(refusals), kMostDelay);
}

std::uint64_t ByteBudget::total() const {
  MutexLock lock(state_->mu);
  return state_->total;
}

std::uint64_t ByteBudget::held(std::uint32_t worker) const {
  MutexLock lock(state_->mu);
  const auto it = state_->workers.find(worker);
  return it == state_->workers.end() ? 0 : it->second.bytes;
}

std::uint64_t ByteBudget::share() const {
  MutexLock lock(state_->mu);
  return state_->share;
}

}  // namespace leeway
