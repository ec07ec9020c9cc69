#include "cli/report/report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/figures.h"
#include "cli/report/format.h"
#include "cli/report/report_style.h"
#include "cli/report/svg_chart.h"

namespace leeway {
namespace {

constexpr std::size_t kMaxMatrix = 24;  // waiters and waited-for: more cannot be read

std::string Section(const std::string& heading, const std::string& note, const std::string& body) {
  return absl::StrCat("<section>\n<h2>", EscapeHtml(heading), "</h2>\n",
                      note.empty() ? "" : absl::StrCat("<p class=\"note\">", EscapeHtml(note), "</p>\n"), body,
                      "</section>\n");
}

std::string Cells(const char* tag, const std::vector<std::string>& texts) {
  std::string out = "<tr>";
  for (const std::string& text : texts) absl::StrAppend(&out, "<", tag, ">", EscapeHtml(text), "</", tag, ">");
  return out + "</tr>\n";
}

// A table that scrolls sideways where it is wider than the page. rows[0] is the heading.
std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::string out =
      "<div class=\"scroll\"><table class=\"wide\">\n<thead>" + Cells("th", rows.front()) + "</thead>\n<tbody>\n";
  for (std::size_t i = 1; i < rows.size(); ++i) out += Cells("td", rows[i]);
  return out + "</tbody>\n</table></div>\n";
}

std::string PlainTable(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = "<div class=\"scroll\"><table class=\"plain\">\n";
  for (const auto& [name, value] : rows) {
    absl::StrAppend(&out, "<tr><th>", EscapeHtml(name), "</th><td>", EscapeHtml(value), "</td></tr>\n");
  }
  return out + "</table></div>\n";
}

std::string Tile(const std::string& value, const std::string& name) {
  return absl::StrCat("<div class=\"tile\"><b>", EscapeHtml(value), "</b><span>", EscapeHtml(name), "</span></div>\n");
}

std::string Key(const std::string& css_class, const std::string& name) {
  return absl::StrCat("<span class=\"key\"><i class=\"", css_class, "\"></i>", EscapeHtml(name), "</span>");
}

std::string Mean(const HistogramFigures& histogram) {
  return absl::StrCat("mean ", FormatFixed(histogram.mean, 2), ", at most ", FormatCount(histogram.max));
}

std::string Header(const v1::GetStatusReply& status, const RunFacts& facts) {
  std::string sub = absl::AsciiStrToLower(v1::RunState_Name(status.state()));
  if (!status.stop_reason().empty()) absl::StrAppend(&sub, ": ", status.stop_reason());
  if (!status.waiting_for().empty()) absl::StrAppend(&sub, ", waiting: ", status.waiting_for());
  if (!facts.started.empty()) absl::StrAppend(&sub, " \u00b7 started ", facts.started);
  return absl::StrCat("<header>\n<h1>Leeway: ", EscapeHtml(status.model().empty() ? "a run" : status.model()),
                      "</h1>\n", "<p class=\"sub\">", EscapeHtml(sub), "</p>\n</header>\n");
}

std::string Tiles(const v1::GetStatusReply& status, const Figures& figures) {
  const bool final = figures.last_evaluation != nullptr && figures.last_evaluation->final();
  return absl::StrCat(
      "<div class=\"tiles\">\n", Tile(FormatPercent(figures.final_accuracy, 1), final ? "final accuracy" : "accuracy"),
      Tile(FormatFixed(figures.final_loss, 4), final ? "final loss (test)" : "loss (test)"),
      Tile(FormatSeconds(status.seconds()), "training time"),
      Tile(FormatFixed(figures.samples_per_second, 0), "samples per second"),
      Tile(FormatFixed(figures.accepted_pushes_per_second, 1), "accepted pushes per second"),
      Tile(FormatCount(status.steps()), "steps"),
      Tile(FormatFixed(figures.gap.mean, 2), absl::StrCat("mean gap, at most ", FormatCount(figures.gap.max))),
      Tile(FormatFixed(figures.delay.mean, 2), absl::StrCat("mean delay, at most ", FormatCount(figures.delay.max))),
      "</div>\n");
}

std::string Curves(const v1::GetStatusReply& status) {
  // The axis is in minutes or hours once seconds become long numbers.
  const auto [unit, name] = status.seconds() > 3 * 3600 ? std::pair(3600.0, "hours")
                            : status.seconds() > 300    ? std::pair(60.0, "minutes")
                                                        : std::pair(1.0, "seconds");
  Series train_loss{"training", "a", {}, false}, test_loss{"test", "b", {}, true};
  Series train_accuracy{"training", "a", {}, false}, test_accuracy{"test", "b", {}, true};
  for (const v1::LossPoint& point : status.training()) {
    train_loss.points.push_back({point.seconds() / unit, point.loss()});
    train_accuracy.points.push_back({point.seconds() / unit, point.accuracy()});
  }
  for (const v1::Evaluation& evaluation : status.evaluations()) {
    test_loss.points.push_back({evaluation.seconds() / unit, evaluation.loss()});
    test_accuracy.points.push_back({evaluation.seconds() / unit, evaluation.accuracy()});
  }
  const auto percent = [](double share) { return absl::StrFormat("%.4g %%", share * 100); };
  return Section(
      "Learning", "",
      absl::StrCat("<div class=\"charts\">\n", RenderLineChart({"Loss", name, FormatShort, 0, {train_loss, test_loss}}),
                   RenderLineChart({"Accuracy", name, percent, 1, {train_accuracy, test_accuracy}}), "</div>\n"));
}

std::string Staleness(const Figures& figures) {
  return Section(
      "Staleness",
      "The gap is how far a worker's clock is ahead of the slowest: the staleness bound limits it. The delay is "
      "how many updates came between the reading of weights and the push of their gradient.",
      absl::StrCat("<div class=\"charts\">\n",
                   RenderHistogram(absl::StrCat("Gap: ", Mean(figures.gap)), "steps", figures.gap.counts,
                                   figures.gap.last_is_open),
                   RenderHistogram(absl::StrCat("Delay: ", Mean(figures.delay)), "updates", figures.delay.counts,
                                   figures.delay.last_is_open),
                   "</div>\n"));
}

std::string BarRow(const std::string& name, const std::string& bar, const std::string& value) {
  return absl::StrCat("<div class=\"row\"><span class=\"name\" title=\"", EscapeHtml(name), "\">", EscapeHtml(name),
                      "</span>", bar, "<span class=\"value\">", EscapeHtml(value), "</span></div>\n");
}

std::string TimeSpent(const Figures& figures) {
  std::string keys = "<p class=\"keys\">";
  for (const char* phase : kPhaseNames) keys += Key(phase, phase);
  double longest = 0;
  for (const WorkerFigures& worker : figures.trainers) longest = std::max(longest, worker.seconds);
  std::string bars;
  std::vector<std::vector<std::string>> rows = {{"worker"}};
  for (const char* phase : kPhaseNames) rows.front().push_back(phase);
  for (const WorkerFigures& worker : figures.trainers) {
    std::vector<BarPart> parts;
    rows.push_back({worker.label});
    for (int i = 0; i < kPhases; ++i) {
      const std::string share = FormatPercent(worker.phases[i], worker.seconds);
      parts.push_back(
          {worker.phases[i], kPhaseNames[i],
           absl::StrCat(worker.label, ", ", kPhaseNames[i], ": ", FormatSeconds(worker.phases[i]), ", ", share)});
      rows.back().push_back(share);
    }
    bars += BarRow(worker.label, RenderStackedBar(parts, longest), FormatSeconds(worker.seconds));
  }
  if (figures.trainers.empty()) return Section("Where the time went", "No worker has trained yet.", "");
  return Section(
      "Where the time went",
      "What each worker's training thread was doing. Blocked: waiting at the gate for other workers. Paced: "
      "held back on purpose (--pace, --jitter, --straggle).",
      absl::StrCat(keys, "</p>\n", bars, "<details><summary>as numbers</summary>\n", Table(rows), "</details>\n"));
}

std::string WhoWaited(const v1::GetStatusReply& status) {
  const BlockedMatrix matrix = MakeBlockedMatrix(status, kMaxMatrix);
  if (matrix.waiters.empty()) return Section("Who was waited for", "Nobody had to wait for another worker.", "");
  std::vector<std::string> heading = {"waiter"};
  heading.insert(heading.end(), matrix.waited_for.begin(), matrix.waited_for.end());
  std::string table =
      "<div class=\"scroll\"><table class=\"matrix\">\n<thead>" + Cells("th", heading) + "</thead>\n<tbody>\n";
  for (std::size_t i = 0; i < matrix.waiters.size(); ++i) {
    absl::StrAppend(&table, "<tr><td>", EscapeHtml(matrix.waiters[i]), "</td>");
    for (double seconds : matrix.seconds[i]) {
      absl::StrAppendFormat(&table, "<td style=\"background: rgba(var(--heat), %.2f)\">%s</td>",
                            0.65 * seconds / matrix.largest, FormatSeconds(seconds));
    }
    table += "</tr>\n";
  }
  table += "</tbody>\n</table></div>\n";
  std::string note = "Each row is a worker that waited, each column a worker that it waited for.";
  if (matrix.left_out > 0) absl::StrAppend(&note, " The ", matrix.left_out, " least affected are left out.");
  return Section("Who was waited for", note, table);
}

std::string Communication(const Figures& figures) {
  double longest = 0;
  for (const WorkerFigures& worker : figures.trainers) {
    longest = std::fmax(longest, worker.exposed_per_step + worker.hidden_per_step);
  }
  if (longest == 0) return Section("Communication per step", "Nothing has been measured yet.", "");
  std::string bars = absl::StrCat("<p class=\"keys\">", Key("blocked", "exposed"), Key("compute", "hidden"), "</p>\n");
  std::vector<std::vector<std::string>> rows = {{"worker", "step", "exposed", "hidden", "exposed / step"}};
  for (const WorkerFigures& worker : figures.trainers) {
    if (!std::isfinite(worker.exposed_per_step)) continue;
    const std::string exposed = FormatSeconds(worker.exposed_per_step), hidden = FormatSeconds(worker.hidden_per_step);
    const std::string share = FormatPercent(worker.exposed_per_step, worker.seconds_per_step);
    bars += BarRow(worker.label,
                   RenderStackedBar({{worker.exposed_per_step, "blocked", "exposed: " + exposed},
                                     {worker.hidden_per_step, "compute", "hidden: " + hidden}},
                                    longest),
                   absl::StrCat(exposed, " + ", hidden));
    rows.push_back({worker.label, FormatSeconds(worker.seconds_per_step), exposed, hidden, share});
  }
  return Section("Communication per step",
                 "Exposed: the training thread waited for it, and did nothing else. Hidden: it was under way while the "
                 "worker computed, or waited for others.",
                 bars + Table(rows));
}

std::string Workers(const v1::GetStatusReply& status) {
  std::vector<std::vector<std::string>> rows = {{"worker", "rank", "state", "device", "steps", "samples", "applied",
                                                 "refused", "dropped", "partial", "retries", "samples/s"}};
  for (const v1::WorkerStatus& worker : status.workers()) {
    const v1::Progress& progress = worker.progress();
    std::string state = worker.state();
    if (worker.role() == v1::EVALUATOR) absl::StrAppend(&state, ", evaluator");
    if (!worker.reason().empty()) absl::StrAppend(&state, " (", worker.reason(), ")");
    rows.push_back({worker.name(), absl::StrCat(worker.rank()), state, progress.device(), FormatCount(progress.steps()),
                    FormatCount(progress.samples()), FormatCount(progress.pushes_applied()),
                    FormatCount(progress.pushes_refused()), FormatCount(progress.pushes_dropped()),
                    FormatCount(progress.pushes_partial()), FormatCount(progress.retries()),
                    FormatFixed(worker.samples_per_second(), 0)});
  }
  return Section("Workers", "", rows.size() > 1 ? Table(rows) : "<p class=\"note\">None has joined.</p>\n");
}

std::string Shards(const v1::GetStatusReply& status) {
  std::vector<std::vector<std::string>> rows = {{"shard", "address", "blocks", "version", "applied", "refused",
                                                 "dropped", "partial", "duplicates", "received", "sent",
                                                 "pulls blocked"}};
  for (const v1::ShardStatus& shard : status.shards()) {
    const v1::ShardStats& stats = shard.stats();
    rows.push_back({absl::StrCat(shard.index(), shard.connected() ? "" : " (gone)"), shard.address(),
                    FormatCount(shard.num_blocks()), FormatCount(stats.version()), FormatCount(stats.pushes_applied()),
                    FormatCount(stats.pushes_refused()), FormatCount(stats.pushes_dropped()),
                    FormatCount(stats.pushes_partial()), FormatCount(stats.chunks_duplicate()),
                    FormatBytes(static_cast<double>(stats.push_bytes())),
                    FormatBytes(static_cast<double>(stats.pull_bytes())), FormatCount(stats.pulls_blocked())});
  }
  return Section("Shards", "", rows.size() > 1 ? Table(rows) : "<p class=\"note\">None is known.</p>\n");
}

std::string Facts(const v1::GetStatusReply& status, const RunFacts& facts, const Figures& figures) {
  std::vector<std::pair<std::string, std::string>> rows = {
      {"command", facts.command_line},
      {"machine", facts.machine},
      {"run id", absl::StrFormat("%016x", status.run_id())},
      {"parameters", FormatCount(status.elements())},
      {"training records", FormatCount(status.num_records())},
      {"samples trained on", FormatCount(status.samples())},
  };
  if (!figures.weights_crc32c.empty()) rows.emplace_back("weights crc32c", figures.weights_crc32c);
  rows.insert(rows.end(), facts.versions.begin(), facts.versions.end());
  std::string body = PlainTable(rows);
  absl::StrAppend(&body, "<details><summary>policy</summary>\n", PlainTable(PolicyRows(status.policy())),
                  "</details>\n");
  if (status.events_size() > 0) {
    body += "<details><summary>events</summary>\n<pre>";
    for (const std::string& event : status.events()) absl::StrAppend(&body, EscapeHtml(event), "\n");
    body += "</pre></details>\n";
  }
  return Section("The run", "", body);
}

}  // namespace

std::string RenderReportHtml(const v1::GetStatusReply& status, const RunFacts& facts) {
  const Figures figures = MakeFigures(status);
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Leeway: ",
      EscapeHtml(status.model()), "</title>\n<style>", kReportStyle, "</style>\n</head>\n<body>\n<main>\n",
      Header(status, facts), Tiles(status, figures), Curves(status), Staleness(figures), TimeSpent(figures),
      WhoWaited(status), Communication(figures), Workers(status), Shards(status), Facts(status, facts, figures),
      "</main>\n</body>\n</html>\n");
}

}  // namespace leeway
