#include "cli/report/summary.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/figures.h"
#include "cli/report/format.h"
#include "cli/report/proto_json.h"
#include "common/utf8.h"

namespace leeway {
namespace {

using nlohmann::ordered_json;

template <typename Repeated>
ordered_json Messages(const Repeated& messages) {
  ordered_json list = ordered_json::array();
  for (const auto& message : messages) list.push_back(ToJson(message));
  return list;
}

ordered_json HistogramJson(const HistogramFigures& histogram) {
  return {{"counts", histogram.counts}, {"mean", JsonNumber(histogram.mean)}, {"max", histogram.max}};
}

template <typename Message>
ordered_json PushesJson(const Message& message) {
  return {{"applied", message.pushes_applied()},
          {"refused", message.pushes_refused()},
          {"dropped", message.pushes_dropped()},
          {"partial", message.pushes_partial()}};
}

// Of a worker's step: `figures` are a trainer's.
ordered_json CommunicationJson(const WorkerFigures& figures) {
  return {{"exposed_ms", JsonNumber(1e3 * figures.exposed_per_step)},
          {"hidden_ms", JsonNumber(1e3 * figures.hidden_per_step)},
          {"exposed_share", JsonNumber(figures.exposed_per_step / figures.seconds_per_step)}};
}

ordered_json WorkerJson(const v1::WorkerStatus& worker) {
  const v1::Progress& progress = worker.progress();
  ordered_json blocked_on = ordered_json::array();
  for (const v1::BlockedOn& blocked : progress.blocked_on()) {
    blocked_on.push_back({{"id", blocked.worker_id()}, {"seconds", JsonNumber(blocked.seconds())}});
  }
  ordered_json json;
  json["id"] = worker.worker_id();
  json["name"] = worker.name();
  json["rank"] = worker.rank();
  json["role"] = worker.role() == v1::EVALUATOR ? "evaluator" : "trainer";
  json["state"] = worker.state();
  json["reason"] = worker.reason();
  json["device"] = progress.device();
  json["clock"] = worker.clock();
  json["steps"] = progress.steps();
  json["steps_given_up"] = progress.steps_given_up();
  json["samples"] = progress.samples();
  json["samples_per_second"] = JsonNumber(worker.samples_per_second());
  const std::uint64_t finite = FiniteSamples(progress);
  json["loss"] = finite > 0 ? JsonNumber(progress.loss_sum() / static_cast<double>(finite)) : ordered_json();
  json["seconds"] = ToJson(progress.seconds());
  json["blocked_on"] = blocked_on;
  json["pushes"] = PushesJson(progress);
  json["retries"] = progress.retries();
  json["exposed_seconds"] = JsonNumber(progress.exposed_seconds());
  json["hidden_seconds"] = JsonNumber(progress.hidden_seconds());
  json["communication_per_step"] = CommunicationJson(MakeWorkerFigures(worker, worker.name()));
  return json;
}

ordered_json ShardJson(const v1::ShardStatus& shard) {
  const v1::ShardStats& stats = shard.stats();
  // The figures of a cluster with this shard alone.
  v1::GetStatusReply alone;
  *alone.add_shards() = shard;
  const Figures figures = MakeFigures(alone);
  ordered_json json;
  json["index"] = shard.index();
  json["address"] = shard.address();
  json["connected"] = shard.connected();
  json["blocks"] = shard.num_blocks();
  json["version"] = stats.version();
  json["pushes"] = PushesJson(stats);
  json["chunks"] = {{"nonfinite", stats.chunks_nonfinite()}, {"duplicate", stats.chunks_duplicate()}};
  json["push_bytes"] = stats.push_bytes();
  json["pull_bytes"] = stats.pull_bytes();
  json["pulls_blocked"] = stats.pulls_blocked();
  json["gap"] = HistogramJson(figures.gap);
  json["delay"] = HistogramJson(figures.delay);
  return json;
}

// How many columns `text` takes: UTF-8 continuation bytes take none.
std::size_t Columns(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Rows under a heading, the first column to the left, the others to the right.
std::string Columned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Columns(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - Columns(row[i]), ' ');
      absl::StrAppend(&out, i == 0 ? "" : "  ", i == 0 ? row[i] : padding, i == 0 ? padding : row[i]);
    }
    out += '\n';
  }
  return out;
}

// Names come from elsewhere: nothing in them may steer the terminal.
std::string Printable(const std::string& text) { return PrintableUtf8(text, 3 * text.size()); }

// Columns that would hold nothing but zeros are left out.
std::string WorkerRows(const Figures& figures) {
  const auto any = [&figures](const auto& value) {
    return std::any_of(figures.trainers.begin(), figures.trainers.end(), value);
  };
  const bool refused = any([](const WorkerFigures& worker) { return worker.status->progress().pushes_refused() > 0; });
  const bool dropped = any([](const WorkerFigures& worker) { return worker.status->progress().pushes_dropped() > 0; });
  const bool paced = any([](const WorkerFigures& worker) { return worker.phases[kPhases - 1] > 0; });
  const int phases = paced ? kPhases : kPhases - 1;

  std::vector<std::vector<std::string>> rows = {{"worker", "state", "steps", "samples", "applied"}};
  if (refused) rows.front().push_back("refused");
  if (dropped) rows.front().push_back("dropped");
  rows.front().insert(rows.front().end(), kPhaseNames, kPhaseNames + phases);
  rows.front().insert(rows.front().end(), {"exposed", "hidden"});
  for (const WorkerFigures& worker : figures.trainers) {
    const v1::Progress& progress = worker.status->progress();
    std::vector<std::string>& row = rows.emplace_back();
    row = {Printable(worker.label), Printable(worker.status->state()), FormatCount(progress.steps()),
           FormatCount(progress.samples()), FormatCount(progress.pushes_applied())};
    if (refused) row.push_back(FormatCount(progress.pushes_refused()));
    if (dropped) row.push_back(FormatCount(progress.pushes_dropped()));
    for (int i = 0; i < phases; ++i) row.push_back(FormatPercent(worker.phases[i], worker.seconds));
    row.push_back(FormatSeconds(worker.exposed_per_step));
    row.push_back(FormatSeconds(worker.hidden_per_step));
  }
  return Columned(rows) + "exposed, hidden: communication per step that was waited for, and that was not\n";
}

}  // namespace

std::string RenderSummaryJson(const v1::GetStatusReply& status, const RunFacts& facts) {
  const Figures figures = MakeFigures(status);
  ordered_json json;
  json["format"] = 1;
  json["command_line"] = facts.command_line;
  json["started"] = facts.started;
  json["machine"] = facts.machine;
  json["versions"] = ordered_json::object();
  for (const auto& [name, version] : facts.versions) json["versions"][name] = version;
  json["state"] = absl::AsciiStrToLower(v1::RunState_Name(status.state()));
  json["stop_reason"] = status.stop_reason();
  json["waiting_for"] = status.waiting_for();
  json["failure"] = status.failure();
  json["run_id"] = absl::StrFormat("%016x", status.run_id());
  json["model"] = status.model();
  json["elements"] = status.elements();
  json["num_records"] = status.num_records();
  json["num_workers"] = figures.trainers.size();
  json["num_shards"] = status.shards_size();
  json["quarantined"] = std::count_if(status.workers().begin(), status.workers().end(),
                                      [](const auto& worker) { return worker.state() == "quarantined"; });
  json["final_accuracy"] = JsonNumber(figures.final_accuracy);
  json["final_loss"] = JsonNumber(figures.final_loss);
  json["final_evaluation"] = figures.last_evaluation != nullptr && figures.last_evaluation->final();
  json["best_accuracy"] = JsonNumber(figures.best_accuracy);
  json["training_loss"] = JsonNumber(figures.training_loss);
  json["weights_crc32c"] = figures.weights_crc32c.empty() ? ordered_json() : ordered_json(figures.weights_crc32c);
  json["seconds"] = JsonNumber(status.seconds());
  json["samples"] = status.samples();
  json["steps"] = status.steps();
  json["samples_per_second"] = JsonNumber(figures.samples_per_second);
  json["accepted_pushes"] = figures.accepted_pushes;
  json["accepted_pushes_per_second"] = JsonNumber(figures.accepted_pushes_per_second);
  json["mean_gap"] = JsonNumber(figures.gap.mean);
  json["max_gap"] = figures.gap.max;
  json["mean_delay"] = JsonNumber(figures.delay.mean);
  json["max_delay"] = figures.delay.max;
  json["gap"] = HistogramJson(figures.gap);
  json["delay"] = HistogramJson(figures.delay);
  json["workers"] = ordered_json::array();
  for (const v1::WorkerStatus& worker : status.workers()) json["workers"].push_back(WorkerJson(worker));
  json["shards"] = ordered_json::array();
  for (const v1::ShardStatus& shard : status.shards()) json["shards"].push_back(ShardJson(shard));
  json["evaluations"] = Messages(status.evaluations());
  json["training"] = Messages(status.training());
  json["policy"] = ToJson(status.policy());
  // Text that is not UTF-8 is repaired: the alternative is an exception.
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string RenderSummaryTable(const v1::GetStatusReply& status) {
  const Figures figures = MakeFigures(status);
  const bool final = figures.last_evaluation != nullptr && figures.last_evaluation->final();
  std::vector<std::vector<std::string>> totals;
  const auto add = [&](const char* name, const std::string& value, const std::string& note = "") {
    totals.push_back({name, value, note});
  };
  add("accuracy", FormatPercent(figures.final_accuracy, 1),
      final ? absl::StrCat("final weights, crc32c ", figures.weights_crc32c) : "last evaluation");
  add("loss", FormatFixed(figures.final_loss, 4), absl::StrCat("training ", FormatFixed(figures.training_loss, 4)));
  add("time", FormatSeconds(status.seconds()), Printable(status.stop_reason()));
  add("samples", FormatCount(status.samples()), FormatFixed(figures.samples_per_second, 0) + " per second");
  add("steps", FormatCount(status.steps()),
      FormatFixed(figures.accepted_pushes_per_second, 1) + " accepted pushes per second");
  add("gap", FormatFixed(figures.gap.mean, 2), absl::StrCat("mean; at most ", figures.gap.max));
  add("delay", FormatFixed(figures.delay.mean, 2), absl::StrCat("mean; at most ", figures.delay.max));
  std::size_t width = 0;
  for (const auto& row : totals) width = std::max(width, Columns(row[1]));
  std::string out;
  for (const auto& row : totals) {
    absl::StrAppend(&out, row[0], std::string(10 - row[0].size() + width - Columns(row[1]), ' '), row[1],
                    row[2].empty() ? "" : "  ", row[2], "\n");
  }
  if (figures.trainers.empty()) return out + "\nno worker has trained\n";
  return absl::StrCat(out, "\n", WorkerRows(figures));
}

}  // namespace leeway
