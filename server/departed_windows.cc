#include "server/departed_windows.h"

#include <algorithm>
#include <utility>

namespace leeway {

void DepartedWindows::Add(std::uint64_t incarnation, std::uint32_t rank, PushWindow window) {
  departed_.push_back({incarnation, rank, std::move(window)});
  if (departed_.size() > kKept) departed_.pop_front();
}

std::optional<std::uint32_t> DepartedWindows::RankOf(std::uint64_t incarnation) const {
  for (const Departed& departed : departed_) {
    if (departed.incarnation == incarnation) return departed.rank;
  }
  return std::nullopt;
}

std::uint64_t DepartedWindows::end() const {
  std::uint64_t end = 0;
  for (const Departed& departed : departed_) {
    if (departed.window.highest() > departed.window.clock()) end = std::max(end, departed.window.highest());
  }
  return end;
}

const PushWindow* DepartedWindows::Find(std::uint64_t incarnation) const {
  for (const Departed& departed : departed_) {
    if (departed.incarnation == incarnation) return &departed.window;
  }
  return nullptr;
}

PushWindow* DepartedWindows::Find(std::uint64_t incarnation) {
  return const_cast<PushWindow*>(std::as_const(*this).Find(incarnation));
}

void DepartedWindows::CloseRound(std::uint64_t round, const std::set<std::uint32_t>& contributors) {
  for (Departed& departed : departed_) {
    // Who had given nothing to it stays where it was: another may have its rank by now.
    const bool given = departed.window.clock() == round && departed.window.highest() > round;
    if (!given) continue;
    departed.window.JumpTo(round + 1, contributors.count(departed.rank) > 0 ? v1::APPLIED : v1::DROPPED);
  }
}

}  // namespace leeway
