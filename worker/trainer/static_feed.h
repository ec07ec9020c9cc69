// StaticFeed: the steps of one rank's own partition (data_sharing STATIC with `each`), each until it is done.
// A step whose push was refused or partial is computed again, at most kAttempts times.
//
// Thread safety: as an int. No RPC.
// Invariant: done() steps, counted from the first, are done; a data_step in a commit is this count, so that after
// a restart nothing is skipped.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>

namespace leeway {

class StaticFeed {
 public:
  static constexpr int kAttempts = 3;

  // Steps `cursor`, cursor + 1, ... below `total` (0: without end).
  StaticFeed(std::uint64_t cursor, std::uint64_t total) : next_(cursor), done_(cursor), total_(total) {}

  // The step to compute next; nothing when all are given out (they may come back by Settle).
  std::optional<std::uint64_t> Next();

  // `step` was given out but not computed: it is next again.
  void Return(std::uint64_t step) { again_.push_front(step); }

  // The push of `step` has its verdict. Returns false when it was not applied and has had its last attempt.
  bool Settle(std::uint64_t step, bool applied);

  std::uint64_t done() const { return done_; }
  bool finished() const { return total_ > 0 && done_ >= total_; }

 private:
  std::uint64_t next_;
  std::uint64_t done_;
  std::uint64_t total_;
  std::deque<std::uint64_t> again_;
  std::map<std::uint64_t, int> failed_attempts_;
  std::set<std::uint64_t> done_ahead_;  // done, but a step before them is not
};

}  // namespace leeway
