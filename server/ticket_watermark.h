// TicketWatermark: the highest serial T such that every ticket <= T is applied or void on this shard.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariant: value() never falls.
#pragma once

#include <cstdint>
#include <set>

namespace leeway {

class TicketWatermark {
 public:
  explicit TicketWatermark(std::uint64_t value = 0) : value_(value) {}

  // Ticket `serial` is applied here, or will never be. False: that was known, or is no ticket (0).
  bool Settle(std::uint64_t serial) {
    if (serial <= value_ || !settled_.insert(serial).second) return false;
    while (!settled_.empty() && *settled_.begin() == value_ + 1) {
      ++value_;
      settled_.erase(settled_.begin());
    }
    return true;
  }

  std::uint64_t value() const { return value_; }
  const std::set<std::uint64_t>& settled() const { return settled_; }  // above value()

 private:
  std::uint64_t value_;
  std::set<std::uint64_t> settled_;  // above value_; at most the pushes under way, over all workers
};

}  // namespace leeway
