#include "worker/trainer/worker_metrics.h"

#include <cmath>
#include <utility>

#include "common/process_metrics.h"

namespace leeway {
namespace {

constexpr const char* kPhaseNames[] = {"data", "pull", "blocked", "compute", "push", "paced"};
constexpr const char* kVerdicts[] = {"applied", "refused", "dropped", "partial"};

}  // namespace

void WorkerMetrics::StepEnded(const v1::PhaseSeconds& seconds, std::uint64_t samples, double loss_sum,
                              std::uint64_t epoch) {
  phases_[kData].Observe(seconds.data());
  phases_[kPull].Observe(seconds.pull());
  phases_[kBlocked].Observe(seconds.blocked());
  phases_[kCompute].Observe(seconds.compute());
  phases_[kPush].Observe(seconds.push());
  phases_[kPaced].Observe(seconds.paced());
  ++steps_;
  samples_ += samples;
  if (std::isfinite(loss_sum)) {
    loss_sum_.fetch_add(loss_sum);
    finite_samples_ += samples;
  }
  if (samples > 0) loss_ = loss_sum / static_cast<double>(samples);
  epoch_ = epoch;
}

void WorkerMetrics::PushEnded(const PushResult& push) {
  if (push.verdict == v1::APPLIED) ++pushes_[push.partial ? 3 : 0];
  if (push.verdict == v1::REFUSED) ++pushes_[1];
  if (push.verdict == v1::DROPPED) ++pushes_[2];
}

void WorkerMetrics::Evaluated(const v1::Evaluation& evaluation) {
  evaluation_loss_ = evaluation.loss();
  evaluation_accuracy_ = evaluation.accuracy();
  ++evaluations_;
}

void WorkerMetrics::SetWaits(std::vector<v1::WaitUnderWay> waits) {
  MutexLock lock(mu_);
  waits_ = std::move(waits);
}

std::vector<v1::WaitUnderWay> WorkerMetrics::waits() const {
  MutexLock lock(mu_);
  return waits_;
}

WorkerMetrics::Totals WorkerMetrics::totals() const {
  Totals totals;
  totals.steps = steps_;
  totals.samples = samples_;
  totals.loss_sum = loss_sum_;
  totals.finite_samples = finite_samples_;
  for (const AtomicHistogram& phase : phases_) totals.step_seconds += phase.Counts().sum;
  totals.blocked_seconds = phases_[kBlocked].Counts().sum;
  totals.evaluations = evaluations_;
  totals.evaluation_loss = evaluation_loss_;
  totals.evaluation_accuracy = evaluation_accuracy_;
  return totals;
}

std::string WorkerMetrics::Text() const {
  MetricsPage page;
  AddProcessMetrics("worker", &page);
  AddTo(&page);
  return page.Text();
}

void WorkerMetrics::AddTo(MetricsPage* page) const {
  page->Gauge("worker_joined", "1 while this worker is a member of the cluster", joined_ ? 1 : 0);
  for (std::size_t i = 0; i < kPhases; ++i) {
    page->Histogram("worker_step_duration_seconds",
                    "a step's time by what the training thread did: it computed, or waited for data, for weights to "
                    "come (pull), at the gate (blocked), for verdicts (push), or because it was told to (paced)",
                    phases_[i].Counts(), {{"phase", kPhaseNames[i]}});
  }
  page->Counter("worker_steps_total", "steps that were computed", static_cast<double>(steps_));
  page->Counter("worker_steps_given_up_total",
                "steps that were not completed, as their round had closed (--round_quorum)",
                static_cast<double>(steps_given_up_));
  page->Counter("worker_examples_total", "records that were trained on", static_cast<double>(samples_));
  if (steps_ > 0) page->Gauge("worker_loss", "mean loss of the last step's records", loss_);
  page->Gauge("worker_epoch", "epoch of the last step's records, from 0 on", static_cast<double>(epoch_));
  page->Gauge("worker_clock", "steps of this incarnation that have their verdict", static_cast<double>(clock_));
  for (std::size_t i = 0; i < pushes_.size(); ++i) {
    page->Counter("worker_pushes_total", "pushes by their verdict on all shards together",
                  static_cast<double>(pushes_[i]), {{"verdict", kVerdicts[i]}});
  }
  page->Counter("worker_retries_total", "calls that were tried again", static_cast<double>(retries_));
  page->Counter("worker_evaluations_total", "evaluations (--role=eval)", static_cast<double>(evaluations_));
  if (evaluations_ == 0) return;
  page->Gauge("worker_evaluation_loss", "of the newest evaluation", evaluation_loss_);
  page->Gauge("worker_evaluation_accuracy", "of the newest evaluation, 0 to 1", evaluation_accuracy_);
}

}  // namespace leeway
