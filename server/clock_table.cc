#include "server/clock_table.h"

namespace leeway {

void ClockTable::Install(WorkerId worker, std::uint64_t clock, bool counts) {
  Entry& entry = entries_[worker];
  Discount(entry);
  entry = {clock, counts};
  Count(entry);
}

void ClockTable::Remove(WorkerId worker) {
  const auto it = entries_.find(worker);
  if (it == entries_.end()) return;
  Discount(it->second);
  entries_.erase(it);
}

void ClockTable::Advance(WorkerId worker, std::uint64_t clock) {
  const auto it = entries_.find(worker);
  if (it == entries_.end() || clock <= it->second.clock) return;
  Discount(it->second);
  it->second.clock = clock;
  Count(it->second);
}

std::uint64_t ClockTable::Get(WorkerId worker) const {
  const auto it = entries_.find(worker);
  return it == entries_.end() ? 0 : it->second.clock;
}

std::uint64_t ClockTable::Gap() const { return counting_.empty() ? 0 : counting_.rbegin()->first - min_; }

std::vector<WorkerId> ClockTable::Below(std::uint64_t clock) const {
  std::vector<WorkerId> below;
  for (const auto& [worker, entry] : entries_) {
    if (entry.counts && entry.clock < clock) below.push_back(worker);
  }
  return below;
}

void ClockTable::Count(const Entry& entry) {
  if (entry.counts) ++counting_[entry.clock];
  if (!counting_.empty()) min_ = counting_.begin()->first;
}

void ClockTable::Discount(const Entry& entry) {
  if (!entry.counts) return;
  const auto it = counting_.find(entry.clock);
  if (--it->second == 0) counting_.erase(it);
  if (!counting_.empty()) min_ = counting_.begin()->first;
}

}  // namespace leeway
