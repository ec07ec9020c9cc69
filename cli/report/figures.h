// Figures: the numbers of a run that every rendering (HTML, JSON, terminal) shows, derived once from the
// coordinator's status.
//
// Thread safety: pure functions. What the status says was reported by other processes: it may be empty, NaN
// or negative, and nothing here relies on it being sensible.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

struct HistogramFigures {
  std::vector<std::uint64_t> counts;  // of all shards together, without trailing zeros
  bool last_is_open = false;          // the last bucket holds everything above, too
  std::uint64_t total = 0;
  double mean = 0;  // NaN: nothing was counted
  std::uint64_t max = 0;
};

// Shares of a worker's time, each finite and not negative, in the order of kPhaseNames.
inline constexpr const char* kPhaseNames[] = {"data", "pull", "compute", "push", "blocked", "paced"};
inline constexpr int kPhases = 6;

struct WorkerFigures {
  const v1::WorkerStatus* status = nullptr;  // of the reply that the figures were made of
  std::string label;                         // its name, with its id where names repeat
  double phases[kPhases] = {};               // seconds
  double seconds = 0;                        // their sum
  double seconds_per_step = 0;               // NaN: no step
  double exposed_per_step = 0;               // seconds of communication that the training thread waited for
  double hidden_per_step = 0;                // and that it did not
  double mean_loss = 0;                      // over all its samples; NaN: none
};

// The samples that loss_sum is over.
inline std::uint64_t FiniteSamples(const v1::Progress& progress) {
  return progress.samples() - std::min<std::uint64_t>(progress.samples(), progress.nonfinite_samples());
}

// NaN where there is no such number.
struct Figures {
  const v1::Evaluation* last_evaluation = nullptr;  // the final one if there is one
  double final_loss = 0;                            // of that evaluation
  double final_accuracy = 0;
  double best_accuracy = 0;
  double training_loss = 0;           // the newest point of the training curve
  double samples_per_second = 0;      // over the whole run
  std::uint64_t accepted_pushes = 0;  // the most that a shard has applied (every push goes to every shard)
  double accepted_pushes_per_second = 0;
  HistogramFigures gap;
  HistogramFigures delay;
  std::string weights_crc32c;           // of the final evaluation: 8 hex digits; empty: none
  std::vector<WorkerFigures> trainers;  // by rank
};

// The results point into `status`, which must outlive them.
WorkerFigures MakeWorkerFigures(const v1::WorkerStatus& status, const std::string& label);
Figures MakeFigures(const v1::GetStatusReply& status);

// Who waited for whom: seconds[i][j] is what waiters[i] waited for waited_for[j]. Only those with any seconds,
// the most affected first, at most `limit` of each.
struct BlockedMatrix {
  std::vector<std::string> waiters;
  std::vector<std::string> waited_for;
  std::vector<std::vector<double>> seconds;
  double largest = 0;
  std::size_t left_out = 0;  // waiters and waited-for beyond the limit
};

BlockedMatrix MakeBlockedMatrix(const v1::GetStatusReply& status, std::size_t limit);

// The policy as (name, value) in the words of proto/policy.proto: {"staleness_bound", "-1"}, {"optimizer.kind",
// "adam"}.
std::vector<std::pair<std::string, std::string>> PolicyRows(const v1::Policy& policy);

}  // namespace leeway
