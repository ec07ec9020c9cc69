// LinkLoad: how many large messages (chunks pushed, pieces pulled) a worker has under way at once in one direction.
// What is under way shares the link, and an attempt that does not end before its deadline has carried its bytes for
// nothing: on a thin link too many at once would all fail, for ever. So it begins with few, and one more goes for each
// that takes a small part of its deadline; half as many when an attempt is not answered in time: as TCP does with
// packets (Jacobson 1988).
//
// One limit for all shards, since it is the worker's own link that is thin; also when it was one shard that was away,
// without which no step is complete anyway.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariants: where nothing is under way there is room. Whoever was told to wait is named by the next Ended.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace leeway {

class LinkLoad {
 public:
  using Again = std::function<void()>;

  // There is room for one more, which is under way from now on: its attempt has to end in Ended. Else `again` waits.
  bool Take(Again again);

  // An attempt has ended that `began` then and might have taken `most`. Returns those that wait, in the order in which
  // they came: each has to Take again.
  std::vector<Again> Ended(Instant began, Instant now, absl::Duration most, const absl::Status& status);

  std::size_t limit() const { return limit_; }

 private:
  // Each quick answer gives room to two, so that a good link is full after a few of them.
  static constexpr std::size_t kFirst = 2;
  // With one more beside it, it may take twice as long; and the link is not always as good.
  static constexpr int kSmallPart = 6;

  std::size_t limit_ = kFirst;
  std::size_t under_way_ = 0;
  Instant halved_;              // when it was last
  std::vector<Again> waiting_;  // as many as the windows of pushes and pulls, which hold what waits
};

}  // namespace leeway
