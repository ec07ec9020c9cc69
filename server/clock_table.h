// ClockTable: each member's clock on one shard, and the minimum that the gate compares with.
//
// Thread safety: none; a plain object, guarded by its owner. No time, no RPC. Below() walks over all members, all else
// costs the logarithm of their number.
// Invariants: a member's clock never falls while it stays installed. With no counting member, the last
// minimum stands (protocol-rules.md 5).
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace leeway {

using WorkerId = std::uint32_t;

class ClockTable {
 public:
  // `min`: what stands until there is a counting member.
  explicit ClockTable(std::uint64_t min = 0) : min_(min) {}

  // Adds a member, or replaces its entry. `counts`: it is part of the minimum (live, not parked).
  void Install(WorkerId worker, std::uint64_t clock, bool counts);
  void Remove(WorkerId worker);
  // Raises a member's clock; a lower value, or an unknown member, changes nothing.
  void Advance(WorkerId worker, std::uint64_t clock);

  std::uint64_t Get(WorkerId worker) const;  // 0 for an unknown member

  std::uint64_t Min() const { return min_; }
  bool AnyCounts() const { return !counting_.empty(); }
  // Clock of the fastest counting member minus clock of the slowest; 0 without members.
  std::uint64_t Gap() const;
  // Counting members whose clock is below `clock`: whom a gated pull waits for.
  std::vector<WorkerId> Below(std::uint64_t clock) const;

 private:
  struct Entry {
    std::uint64_t clock = 0;
    bool counts = false;
  };
  void Count(const Entry& entry);
  void Discount(const Entry& entry);

  std::map<WorkerId, Entry> entries_;
  std::map<std::uint64_t, std::uint32_t> counting_;  // clock -> how many counting members have it; none has 0
  std::uint64_t min_ = 0;
};

}  // namespace leeway
