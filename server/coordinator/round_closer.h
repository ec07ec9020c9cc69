// RoundCloser: closes each round once for all shards, and names its contributors and divisor.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: rounds close in order; a contributor's push is whole on every shard; the contributors are in
// ascending rank order, so that every shard takes the same sum.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

class RoundCloser {
 public:
  // `quorum` 0: a round waits for everyone who is expected.
  RoundCloser(std::uint32_t num_shards, std::uint32_t quorum) : quorum_(quorum), reports_(num_shards) {}

  std::uint64_t open_round() const { return open_round_; }

  // What shard `shard` has whole for `round`. What it has had whole once it has, in whatever order its reports come and
  // also after a restart (or the run goes back: Coordinator::WhyLost). Reports for other rounds than the open one are
  // old news (or, from a quick shard, repeated later) and are ignored.
  void Report(std::uint32_t shard, const v1::ReportRoundRequest& report);

  // Rank `rank` has left, and every shard has answered its pushes to the rounds before `pushed`. Their reports may
  // still be under way, and what was acknowledged must not miss its round: it is waited for, but not beyond `until`, or
  // one that lies could hold a round for good.
  void Leave(std::uint32_t rank, std::uint64_t pushed, Instant until);

  // Who has left, and takes part in the open round all the same.
  std::set<std::uint32_t> Owed(Instant now) const;

  // `expected`: ranks that take part in the open round, of live members and of Owed(). Closes the round when every one
  // of them, or a quorum, has given its push to all shards.
  std::optional<v1::RoundClose> TryClose(const std::set<std::uint32_t>& expected);

  // Closes the open round with whoever's push is whole everywhere, perhaps nobody's: everyone has gone, and what they
  // left behind in the shards must not be mixed with the pushes of those who come.
  v1::RoundClose Abandon();

  // Ranks of `expected` whose push some shard does not have whole.
  std::vector<std::uint32_t> Missing(const std::set<std::uint32_t>& expected) const;

  // For a restart: Restore gives a new object all that another one saved. DATA_LOSS: no such object can have saved it;
  // then this one must not be used.
  // Who has left is waited for until `until`.
  void Save(v1::RoundCloserState* state) const;
  absl::Status Restore(const v1::RoundCloserState& state, Instant until);

 private:
  struct Departure {
    std::uint64_t pushed = 0;
    Instant until;
  };
  bool WholeEverywhere(std::uint32_t rank) const;
  void Note(std::uint32_t shard, const v1::RoundContribution& contribution);

  const std::uint32_t quorum_;
  std::uint64_t open_round_ = 0;
  std::vector<std::map<std::uint32_t, v1::RoundContribution>> reports_;  // [shard][rank], of the open round
  std::size_t whole_ = 0;                                                // ranks that are in all of them
  std::map<std::uint32_t, Departure> left_;                              // by rank, while a round is owed
};

}  // namespace leeway
