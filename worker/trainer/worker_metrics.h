// WorkerMetrics: what a worker tells through /metrics and TensorBoard, over all its incarnations.
//
// Thread safety: every method, from any thread. What steps write are atomics, so that a scrape holds up none.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "common/atomic_histogram.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "proto/coordinator.pb.h"
#include "worker/client/push.h"

namespace leeway {

class WorkerMetrics {
 public:
  // A step was computed; `seconds`: what the training thread did since the step before that was.
  void StepEnded(const v1::PhaseSeconds& seconds, std::uint64_t samples, double loss_sum, std::uint64_t epoch);
  void StepGivenUp() { ++steps_given_up_; }
  void PushEnded(const PushResult& push);
  void Evaluated(const v1::Evaluation& evaluation);
  void SetJoined(bool joined) { joined_ = joined; }
  bool joined() const { return joined_; }
  // What the worker waits for at this moment (worker/client/describe_wait.h).
  void SetWaits(std::vector<v1::WaitUnderWay> waits) LEEWAY_EXCLUDES(mu_);
  std::vector<v1::WaitUnderWay> waits() const LEEWAY_EXCLUDES(mu_);
  // Now and then: calls tried again, and the steps of this incarnation that have their verdict.
  void SetProgress(std::uint64_t retries, std::uint64_t clock) {
    retries_ = retries;
    clock_ = clock;
  }

  // The whole /metrics page of a worker.
  std::string Text() const;
  void AddTo(MetricsPage* page) const;

  // Totals that two samples are told apart by.
  struct Totals {
    std::uint64_t steps = 0;
    std::uint64_t samples = 0;
    double loss_sum = 0;  // of finite_samples: those of steps whose loss was finite
    std::uint64_t finite_samples = 0;
    double step_seconds = 0;
    double blocked_seconds = 0;
    std::uint64_t evaluations = 0;
    double evaluation_loss = 0;
    double evaluation_accuracy = 0;
  };
  Totals totals() const;

 private:
  enum Phase { kData, kPull, kBlocked, kCompute, kPush, kPaced, kPhases };

  std::array<AtomicHistogram, kPhases> phases_ = {AtomicHistogram(SecondsBounds()), AtomicHistogram(SecondsBounds()),
                                                  AtomicHistogram(SecondsBounds()), AtomicHistogram(SecondsBounds()),
                                                  AtomicHistogram(SecondsBounds()), AtomicHistogram(SecondsBounds())};
  std::atomic<std::uint64_t> steps_ = 0;
  std::atomic<std::uint64_t> steps_given_up_ = 0;
  std::atomic<std::uint64_t> samples_ = 0;
  std::atomic<double> loss_sum_ = 0;
  std::atomic<std::uint64_t> finite_samples_ = 0;
  std::atomic<double> loss_ = 0;  // of the last step
  std::atomic<std::uint64_t> epoch_ = 0;
  std::array<std::atomic<std::uint64_t>, 4> pushes_ = {};  // applied, refused, dropped, partial
  std::atomic<std::uint64_t> retries_ = 0;
  std::atomic<std::uint64_t> clock_ = 0;
  std::atomic<bool> joined_ = false;
  std::atomic<std::uint64_t> evaluations_ = 0;
  std::atomic<double> evaluation_loss_ = 0;
  std::atomic<double> evaluation_accuracy_ = 0;
  mutable Mutex mu_;
  std::vector<v1::WaitUnderWay> waits_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
