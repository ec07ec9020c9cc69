// CheckpointCourse: when a checkpoint is taken, and how far the shards are with it
// (docs/adr/0013-cut-of-a-checkpoint.md).
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariants: one checkpoint at a time; limits are published once every shard has said what it has seen, and no limit
// is below what any shard has seen of steps that can still be completed; it is written when every shard says so, and
// failed when one cannot, or when it takes too long: then it is as if it had not been begun.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class CheckpointCourse {
 public:
  struct Config {
    std::uint32_t num_shards = 1;
    std::uint64_t every_steps = 0;                     // 0: not by steps
    absl::Duration every = absl::InfiniteDuration();   // of training
    bool one_limit = false;                            // rounds: nobody's push is of use without the others'
    absl::Duration give_up_after = absl::Minutes(30);  // a shard may write gigabytes to a slow disk
  };

  explicit CheckpointCourse(const Config& config) : config_(config) {}

  // From now on at these times.
  void SetTimes(std::uint64_t every_steps, absl::Duration every) {
    config_.every_steps = every_steps;
    config_.every = every;
  }
  // Training begins, or it goes on and the last checkpoint was then: intervals count from there.
  void Start(Instant last, std::uint64_t last_steps);
  Instant last() const { return last_; }  // when the last one was committed, or the start
  // Is it time for one? Only when one may begin.
  bool Due(Instant now, std::uint64_t steps) const;
  static constexpr absl::Duration kTryAgain = absl::Seconds(10);
  // Might one begin, had anybody a reason? Not while one is under way, nor for kTryAgain after one has failed.
  bool MayBegin(Instant now) const { return !under_way() && (!not_before_ || now >= *not_before_); }

  // Begins checkpoint `name`. Requires that none is under way; `id` is not 0, and new. `last_round`: no round from this
  // one on is closed any more, so the cut is before it, whatever shards have seen of it.
  void Begin(Instant now, std::uint64_t id, const std::string& name,
             std::optional<std::uint64_t> last_round = std::nullopt);
  bool under_way() const { return cut_.id() != 0; }
  // What the shards are told. id 0: nothing.
  const v1::Cut& cut() const { return cut_; }
  // A `ps` waits for the one under way, and ends then. It does for all that end, since none of them is there for
  // another.
  void WaitedForToEnd() { waited_for_to_end_ = under_way(); }
  bool waited_for_to_end() const { return waited_for_to_end_; }

  // What shard `shard` says. True: cut(), written() or failure() has changed. Reports on another cut are old news.
  bool Report(std::uint32_t shard, const v1::CutReport& report);
  // True when it takes too long, and has failed by that.
  bool Expire(Instant now);

  bool written() const;                                    // by every shard
  const std::string& failure() const { return failure_; }  // not empty: it has failed
  // The shards' reports, in their order. Requires written().
  std::vector<v1::CutReport> reports() const;

  // It is committed, or given up: intervals count from `began` and from `steps`.
  void End(Instant now, std::uint64_t steps, bool committed);
  // It is given up for another one, which may begin at once.
  void Drop() { cut_.Clear(); }

 private:
  void SetLimits();

  Config config_;
  v1::Cut cut_;
  std::optional<std::uint64_t> last_round_;
  std::vector<std::optional<v1::CutReport>> reports_;  // the last of each shard
  std::string failure_;
  bool waited_for_to_end_ = false;
  Instant began_;
  // Of the last one that was committed, or of the start.
  Instant last_;
  std::uint64_t last_steps_ = 0;
  std::optional<Instant> not_before_;
};

}  // namespace leeway
