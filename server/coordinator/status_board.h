// StatusBoard: what is known of the run, for `leeway run`, `leeway status` and the report: progress per
// worker, loss over time, evaluations, events.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariant: bounded: at most kMostPoints points, kMostEvaluations evaluations, kMostEvents events.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"
#include "server/coordinator/recent_rate.h"

namespace leeway {

class StatusBoard {
 public:
  static constexpr std::size_t kMostPoints = 1000;
  static constexpr std::size_t kMostEvaluations = 10000;
  static constexpr std::size_t kMostEvents = 100;
  // Totals of waits (WaitTotal, BlockedOn) that are saved: of some 60 workers that have all waited for one another.
  // They grow with the square of the number of workers, and what is saved is written with every answer of the
  // coordinator.
  static constexpr std::size_t kMostSavedWaits = 8192;

  void Start(Instant now) { start_ = now; }
  Instant start() const { return start_; }
  double Seconds(Instant now) const { return start_.nanos == 0 ? 0 : absl::ToDoubleSeconds(now - start_); }

  void AddEvent(Instant now, const std::string& text);
  void AddEvaluation(Instant now, v1::Evaluation evaluation);

  // A worker's totals; `samples`: the cluster's count of samples trained on.
  void AddProgress(Instant now, const v1::Member& member, const v1::Progress& progress, std::uint64_t samples);
  // Of another name than before: the number of a worker that is forgotten has come to this one.
  void SetState(std::uint32_t worker, const std::string& name, v1::Role role, std::uint32_t rank,
                const std::string& state, const std::string& reason);
  // Reports may overtake each other: the highest clock counts, but for a worker that enters, at `clock`.
  void SetClock(std::uint32_t worker, std::uint64_t clock);
  void EnterAt(std::uint32_t worker, std::uint64_t clock);

  double SamplesPerSecond(Instant now) const;  // of all workers together, recent
  // Everything this object knows; the caller adds the rest.
  void Fill(Instant now, v1::GetStatusReply* reply) const;
  // Of that, the workers and their recent rate.
  void FillWorkers(Instant now, v1::GetStatusReply* reply) const;
  // Null: there is none yet.
  const v1::LossPoint* newest_point() const { return points_.empty() ? nullptr : &points_.back(); }
  const v1::Evaluation* newest_evaluation() const { return evaluations_.empty() ? nullptr : &evaluations_.back(); }

  // For a restart: Restore gives a new object all that another one saved, but the recent rates. Above kMostSavedWaits
  // no waits are saved; those of workers that go on come with their next report. The caller calls Start again.
  // DATA_LOSS: no such object can have saved it; then this one must not be used.
  void Save(v1::StatusBoardState* state) const;
  absl::Status Restore(const v1::StatusBoardState& state);

 private:
  struct Row {
    v1::WorkerStatus status;
    std::uint64_t incarnation = 0;
    v1::Progress earlier;  // totals of this name's former incarnations
    RecentRate samples;    // of the worker's own count
    RecentRate blocked;    // milliseconds at the gate
  };
  void AddPoint(Instant now, std::uint64_t samples);

  Instant start_;
  std::map<std::uint32_t, Row> rows_;
  std::vector<v1::Evaluation> evaluations_;
  std::deque<std::string> events_;
  std::vector<v1::LossPoint> points_;
  double point_spacing_ = 0.25;  // seconds; doubles when the points are thinned
  v1::LossPoint pending_;        // sums since the last point
  std::uint64_t pending_samples_ = 0, pending_nonfinite_ = 0;
};

}  // namespace leeway
