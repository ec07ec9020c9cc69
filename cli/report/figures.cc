#include "cli/report/figures.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/proto_json.h"

namespace leeway {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double NotNegative(double seconds) { return std::isfinite(seconds) && seconds > 0 ? seconds : 0; }

double Per(double amount, double whole) { return whole > 0 ? amount / whole : kNone; }

HistogramFigures Merge(const v1::GetStatusReply& status, const v1::Histogram& (v1::ShardStats::*get)() const) {
  HistogramFigures merged;
  double sum = 0;
  for (const v1::ShardStatus& shard : status.shards()) {
    const v1::Histogram& histogram = (shard.stats().*get)();
    const std::size_t size = static_cast<std::size_t>(histogram.counts_size());
    if (merged.counts.size() < size) merged.counts.resize(size);
    for (std::size_t i = 0; i < size; ++i) {
      merged.counts[i] += histogram.counts(static_cast<int>(i));
      merged.total += histogram.counts(static_cast<int>(i));
    }
    sum += NotNegative(histogram.sum());
    merged.max = std::max(merged.max, histogram.max());
  }
  merged.mean = Per(sum, static_cast<double>(merged.total));
  merged.last_is_open = !merged.counts.empty() && merged.counts.back() > 0;
  while (!merged.counts.empty() && merged.counts.back() == 0) merged.counts.pop_back();
  return merged;
}

// What to call each worker: names may repeat (a worker that came back), ids do not.
std::map<std::uint32_t, std::string> Labels(const v1::GetStatusReply& status) {
  std::map<std::string, int> uses;
  for (const v1::WorkerStatus& worker : status.workers()) ++uses[worker.name()];
  std::map<std::uint32_t, std::string> labels;
  for (const v1::WorkerStatus& worker : status.workers()) {
    std::string& label = labels[worker.worker_id()];
    label = worker.name();
    if (label.empty() || uses[worker.name()] > 1) absl::StrAppend(&label, "#", worker.worker_id());
  }
  return labels;
}

// Nested names are joined by dots.
void AddRows(const std::string& prefix, const nlohmann::ordered_json& json,
             std::vector<std::pair<std::string, std::string>>& rows) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_structured()) {
      AddRows(absl::StrCat(prefix, key, "."), value, rows);
    } else {
      rows.emplace_back(prefix + key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
}

}  // namespace

WorkerFigures MakeWorkerFigures(const v1::WorkerStatus& status, const std::string& label) {
  const v1::Progress& progress = status.progress();
  const v1::PhaseSeconds& seconds = progress.seconds();
  WorkerFigures worker;
  worker.status = &status;
  worker.label = label;
  const double phases[kPhases] = {seconds.data(), seconds.pull(),    seconds.compute(),
                                  seconds.push(), seconds.blocked(), seconds.paced()};
  for (int i = 0; i < kPhases; ++i) {
    worker.phases[i] = NotNegative(phases[i]);
    worker.seconds += worker.phases[i];
  }
  const double steps = static_cast<double>(progress.steps());
  worker.seconds_per_step = Per(worker.seconds, steps);
  worker.exposed_per_step = Per(NotNegative(progress.exposed_seconds()), steps);
  worker.hidden_per_step = Per(NotNegative(progress.hidden_seconds()), steps);
  worker.mean_loss = Per(progress.loss_sum(), static_cast<double>(FiniteSamples(progress)));
  return worker;
}

Figures MakeFigures(const v1::GetStatusReply& status) {
  Figures figures;
  figures.final_loss = figures.final_accuracy = figures.best_accuracy = figures.training_loss = kNone;
  for (const v1::Evaluation& evaluation : status.evaluations()) {
    const bool had_final = figures.last_evaluation != nullptr && figures.last_evaluation->final();
    if (evaluation.final() || !had_final) figures.last_evaluation = &evaluation;
    figures.best_accuracy = std::fmax(figures.best_accuracy, evaluation.accuracy());
  }
  if (figures.last_evaluation != nullptr) {
    figures.final_loss = figures.last_evaluation->loss();
    figures.final_accuracy = figures.last_evaluation->accuracy();
    if (figures.last_evaluation->final()) {
      figures.weights_crc32c = absl::StrFormat("%08x", figures.last_evaluation->weights_crc32c());
    }
  }
  if (status.training_size() > 0) figures.training_loss = status.training(status.training_size() - 1).loss();
  for (const v1::ShardStatus& shard : status.shards()) {
    figures.accepted_pushes = std::max<std::uint64_t>(figures.accepted_pushes, shard.stats().pushes_applied());
  }
  figures.samples_per_second = Per(static_cast<double>(status.samples()), status.seconds());
  figures.accepted_pushes_per_second = Per(static_cast<double>(figures.accepted_pushes), status.seconds());
  figures.gap = Merge(status, &v1::ShardStats::gap);
  figures.delay = Merge(status, &v1::ShardStats::delay);
  const std::map<std::uint32_t, std::string> labels = Labels(status);
  for (const v1::WorkerStatus& worker : status.workers()) {
    if (worker.role() == v1::EVALUATOR) continue;
    figures.trainers.push_back(MakeWorkerFigures(worker, labels.at(worker.worker_id())));
  }
  std::stable_sort(figures.trainers.begin(), figures.trainers.end(),
                   [](const auto& a, const auto& b) { return a.status->rank() < b.status->rank(); });
  return figures;
}

BlockedMatrix MakeBlockedMatrix(const v1::GetStatusReply& status, std::size_t limit) {
  std::map<std::uint32_t, std::string> labels = Labels(status);
  std::map<std::uint32_t, double> waited, caused;  // by worker id: seconds
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> seconds;
  for (const v1::WorkerStatus& worker : status.workers()) {
    for (const v1::BlockedOn& blocked : worker.progress().blocked_on()) {
      const double amount = NotNegative(blocked.seconds());
      if (amount == 0) continue;
      labels.try_emplace(blocked.worker_id(), absl::StrCat("#", blocked.worker_id()));
      waited[worker.worker_id()] += amount;
      caused[blocked.worker_id()] += amount;
      seconds[{worker.worker_id(), blocked.worker_id()}] += amount;
    }
  }
  BlockedMatrix matrix;
  const auto most = [&](const std::map<std::uint32_t, double>& totals) {
    std::vector<std::uint32_t> ids;
    for (const auto& [id, total] : totals) ids.push_back(id);
    std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) { return totals.at(a) > totals.at(b); });
    if (ids.size() > limit) {
      matrix.left_out += ids.size() - limit;
      ids.resize(limit);
    }
    return ids;
  };
  const std::vector<std::uint32_t> waiters = most(waited), waited_for = most(caused);
  for (std::uint32_t id : waited_for) matrix.waited_for.push_back(labels.at(id));
  for (std::uint32_t waiter : waiters) {
    matrix.waiters.push_back(labels.at(waiter));
    std::vector<double>& row = matrix.seconds.emplace_back();
    for (std::uint32_t other : waited_for) {
      const auto found = seconds.find({waiter, other});
      row.push_back(found == seconds.end() ? 0 : found->second);
      matrix.largest = std::max(matrix.largest, row.back());
    }
  }
  return matrix;
}

std::vector<std::pair<std::string, std::string>> PolicyRows(const v1::Policy& policy) {
  std::vector<std::pair<std::string, std::string>> rows;
  AddRows("", ToJson(policy), rows);
  return rows;
}

}  // namespace leeway
