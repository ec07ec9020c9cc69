// DepartedWindows: the push windows of incarnations that are members no more, so that a worker whose answer was lost
// can learn what became of its push after its lease has run out: what was applied must not be given back to its
// error-feedback residual, what was not must be.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariant: the newest kKept departures are kept; nothing that is asked marks a chunk as come.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>

#include "server/push_window.h"

namespace leeway {

class DepartedWindows {
 public:
  // A worker asks within seconds of losing its lease, so this many may lose theirs at once, with a switch or a host of
  // theirs, and all get their answers. A window holds up to 16 steps, 8 bytes for each of their chunks.
  static constexpr std::size_t kKept = 64;

  // `rank` names it to CloseRound.
  void Add(std::uint64_t incarnation, std::uint32_t rank, PushWindow window);

  // Adds every window, with its incarnation and rank, to a repeated field of WindowState; the newest comes last.
  template <typename Repeated>
  void Save(Repeated* out) const {
    for (const Departed& departed : departed_) {
      v1::WindowState& state = *out->Add();
      state = departed.window.Save();
      state.set_incarnation(departed.incarnation);
      state.set_rank(departed.rank);
    }
  }

  // Null: not known (any more). Valid until the next Add.
  PushWindow* Find(std::uint64_t incarnation);
  const PushWindow* Find(std::uint64_t incarnation) const;
  std::optional<std::uint32_t> RankOf(std::uint64_t incarnation) const;  // nothing: not known (any more)

  // One above the newest step that any of them has begun and not ended; 0: none has.
  std::uint64_t end() const;

  // `round` has closed, with these ranks' pushes in it: what those who departed while it was open had given to it has
  // its verdict.
  void CloseRound(std::uint64_t round, const std::set<std::uint32_t>& contributors);

 private:
  struct Departed {
    std::uint64_t incarnation = 0;
    std::uint32_t rank = 0;
    PushWindow window;
  };
  std::deque<Departed> departed_;  // the newest at the back
};

}  // namespace leeway
