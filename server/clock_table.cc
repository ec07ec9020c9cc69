#include "server/clock_table.h"

#include <algorithm>
#include <limits>

namespace leeway {

void ClockTable::Install(WorkerId worker, std::uint64_t clock, bool counts) {
  entries_[worker] = {clock, counts};
  Refresh();
}

void ClockTable::Remove(WorkerId worker) {
  entries_.erase(worker);
  Refresh();
}

void ClockTable::Advance(WorkerId worker, std::uint64_t clock) {
  const auto it = entries_.find(worker);
  if (it == entries_.end() || clock <= it->second.clock) return;
  it->second.clock = clock;
  Refresh();
}

std::uint64_t ClockTable::Get(WorkerId worker) const {
  const auto it = entries_.find(worker);
  return it == entries_.end() ? 0 : it->second.clock;
}

std::uint64_t ClockTable::Gap() const {
  std::uint64_t fastest = min_;
  for (const auto& [worker, entry] : entries_) {
    if (entry.counts) fastest = std::max(fastest, entry.clock);
  }
  return fastest - min_;
}

std::vector<WorkerId> ClockTable::Below(std::uint64_t clock) const {
  std::vector<WorkerId> below;
  for (const auto& [worker, entry] : entries_) {
    if (entry.counts && entry.clock < clock) below.push_back(worker);
  }
  return below;
}

void ClockTable::Refresh() {
  std::uint64_t lowest = std::numeric_limits<std::uint64_t>::max();
  bool any = false;
  for (const auto& [worker, entry] : entries_) {
    if (!entry.counts) continue;
    any = true;
    lowest = std::min(lowest, entry.clock);
  }
  if (any) min_ = lowest;
}

}  // namespace leeway
