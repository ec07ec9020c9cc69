// StepPipeline: the order of a worker's steps. It decides which pull may leave, into which buffer, at which
// clocks; whether the next step can be computed; and what a verdict or a jump does to what was prefetched.
//
// With depth d there are d + 1 buffers for weights and d + 1 for gradients. Depth 0: pull, compute, push, wait
// for the verdict. Depth d >= 1: the pull for step k + d leaves when step k begins to compute, and step k
// computes while the pushes of the d steps before it may wait for their verdicts, those of earlier steps not; a pull
// for step k asks for own_clock = k - d.
//
// Thread safety: as an int. No threads, no RPC, no time.
// Invariants: a weights buffer is written by at most one pull and never while a step computes on it; a gradient
// buffer is free again when its push has its verdict; pulls are sent in the order of their clocks.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "proto/parameter_server.pb.h"

namespace leeway {

class StepPipeline {
 public:
  struct PullOrder {
    std::uint64_t id = 0;  // for PullArrived and TakeDropped
    std::uint64_t clock = 0;
    std::uint64_t own_clock = 0;
    int weights_slot = 0;
  };
  struct Compute {
    std::uint64_t clock = 0;
    std::uint64_t pull_id = 0;
    int weights_slot = 0;
    int gradient_slot = 0;
  };

  StepPipeline(int depth, std::uint64_t entry_clock);

  std::uint64_t clock() const { return clock_; }                   // of the step that computes, or computes next
  std::uint64_t settled() const;                                   // steps with a verdict: what a heartbeat reports
  std::size_t pushes() const { return gradient_of_push_.size(); }  // without a verdict
  bool GradientFree() const;
  bool CanCompute() const;
  std::uint64_t next_pull_id() const { return pulls_.front().order.id; }  // of the next step; requires CanCompute()

  // The pull that should leave now, if any; call until there is none.
  std::optional<PullOrder> NextPull();
  // Its weights are complete. Ignored when it was dropped.
  void PullArrived(std::uint64_t id);
  // Pulls that are not wanted any more: to be abandoned before NextPull() gives their buffers to others.
  std::vector<std::uint64_t> TakeDropped();

  // Requires CanCompute().
  Compute BeginCompute();
  // The gradient is complete, its push under way.
  void EndCompute();
  // The push of step `clock` has its verdict. REFUSED: what was prefetched is dropped, the next step pulls afresh.
  // DROPPED: goes on at `open_round`.
  void PushEnded(std::uint64_t clock, v1::Verdict verdict, std::uint64_t open_round);
  // After parking: goes on at `clock` or, if that is ahead, at its own, with fresh weights, in
  // which all its pushes of steps below `clock` are. A step that is computing ends first.
  void Reenter(std::uint64_t clock);

 private:
  struct Prefetch {
    PullOrder order;
    bool arrived = false;
  };

  // Goes on at `clock` if that is ahead; a step that is computing ends first.
  void Jump(std::uint64_t clock);
  void DropPrefetch();

  const int depth_;
  std::uint64_t base_;  // clock of the last entry or jump: all that lies before is in
  std::uint64_t clock_;
  std::uint64_t reentry_ = 0;  // pushes of steps below it have their verdict before anything is pulled
  std::uint64_t next_id_ = 0;
  bool computing_ = false;
  std::uint64_t jump_ = 0;      // asked for while computing
  std::deque<Prefetch> pulls_;  // ascending clocks; the front one is of clock_, or of the next while computing
  std::vector<std::uint64_t> dropped_;
  std::vector<int> free_weights_;
  std::vector<int> free_gradients_;
  Compute current_;
  std::map<std::uint64_t, int> gradient_of_push_;
};

}  // namespace leeway
