// SimulateThroughput: how fast a cluster of paced workers would go, in virtual time: which worker waits for whom,
// how large gaps and delays become. What decides is the cluster's own code: each worker's StepPipeline orders its
// steps, and ClockTable with AskGate, or RoundCloser with AskRoundGate, admits its pulls. One shard; nothing is
// computed, nothing is sent.
//
// Thread safety: a pure function of its options. No threads, no clock of its own.
#pragma once

#include <cstdint>
#include <functional>

#include "proto/coordinator.pb.h"

namespace leeway {

struct SimOptions {
  std::uint32_t workers = 4;
  bool round = false;           // one update per round; then `bound` is not used, and depth must be 0
  std::int64_t bound = -1;      // as --staleness_bound
  int depth = 0;                // as --pipeline_depth
  std::uint64_t steps = 10000;  // the end: applied pushes, or closed rounds
  // How long step `step` of worker `rank` computes: finite, >= 0.
  std::function<double(std::uint32_t rank, std::uint64_t step)> step_seconds;
  // Each of four messages takes this long: a push, its verdict (the update happens when the push arrives), a pull, its
  // weights (of the moment when the pull was admitted).
  double message_seconds = 0;
};

struct SimResult {
  double seconds = 0;          // until the last update
  std::uint64_t pushes = 0;    // accepted; fewer than asked for when everybody waits for ever
  double blocked_seconds = 0;  // of all workers: no step computes, its pull is not admitted
  // As the daemons count them: the gap once per admitted pull, the delay once per accepted push (0 in rounds).
  v1::Histogram gap;
  v1::Histogram delay;
  // Counted beside the gate, from what was applied:
  std::uint64_t max_gap = 0;   // fastest minus slowest clock, ever
  std::uint64_t max_lead = 0;  // an admitted pull's clock minus the slowest clock, ever; 0 in rounds when all is well

  double PushesPerSecond() const { return static_cast<double>(pushes) / seconds; }
  double BlockedShare(std::uint32_t workers) const { return blocked_seconds / (workers * seconds); }
  double MeanDelay() const;
  double MeanGap() const;
};

// Requires valid options (they come from a test or from checked flags).
SimResult SimulateThroughput(const SimOptions& options);

}  // namespace leeway
