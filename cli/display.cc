#include "cli/display.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/report/format.h"
#include "cli/text_table.h"
#include "cli/why/wait_lines.h"
#include "common/wait_words.h"

namespace leeway {
namespace {

constexpr std::size_t kMostWaits = 3;  // lines

// "0:42", "1:05:09"
std::string FormatClockTime(double seconds) {
  const std::int64_t whole = std::isfinite(seconds) ? std::llround(std::clamp(seconds, 0.0, 3600.0 * 9999)) : 0;
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

// Totals only grow, but a worker that came back under a new incarnation starts from zero again.
double Growth(double now, double before) { return now >= before ? now - before : now; }

const v1::WorkerStatus* FindWorker(const v1::GetStatusReply& status, std::uint32_t worker_id) {
  for (const v1::WorkerStatus& worker : status.workers()) {
    if (worker.worker_id() == worker_id) return &worker;
  }
  return nullptr;
}

double EpochsDone(const v1::GetStatusReply& status) {
  return status.num_records() == 0 ? 0
                                   : static_cast<double>(status.samples()) / static_cast<double>(status.num_records());
}

std::string Bar(double fraction, int width) {
  const int full = static_cast<int>(std::lround(fraction * width));
  return absl::StrCat("[", std::string(static_cast<std::size_t>(full), '#'),
                      std::string(static_cast<std::size_t>(width - full), '-'), "]");
}

// "", or "0:42 left" at the speed since `before`.
std::string TimeLeft(const v1::GetStatusReply& now, const v1::GetStatusReply& before) {
  const double done = FractionDone(now);
  const double speed = (done - FractionDone(before)) / (now.seconds() - before.seconds());
  if (!(speed > 0) || !std::isfinite(speed)) return "";
  return absl::StrCat(FormatClockTime((1 - done) / speed), " left");
}

std::string EpochText(const v1::GetStatusReply& status) {
  std::string text = absl::StrFormat("epoch %.2f", EpochsDone(status));
  const std::uint64_t epochs = status.policy().stop().epochs();
  if (epochs > 0) absl::StrAppend(&text, " of ", epochs);
  return text;
}

// "waiting: ps 1 is not there", or ""
std::string WaitsText(const v1::GetStatusReply& status) {
  return status.waiting_for().empty() ? "" : absl::StrCat("waiting: ", Printable(status.waiting_for()));
}

std::string AndWaits(const v1::GetStatusReply& status) {
  return status.waiting_for().empty() ? "" : absl::StrCat("; ", WaitsText(status));
}

std::string StateText(const v1::GetStatusReply& status) {
  switch (status.state()) {
    case v1::STARTING:
      return absl::StrCat("starting", status.waiting_for().empty() ? "" : ": ", Printable(status.waiting_for()));
    case v1::TRAINING:
      return absl::StrCat("training ", Printable(status.model()));
    case v1::FINISHING:
      return absl::StrCat("finishing: the workers end their last steps", AndWaits(status));
    case v1::EVALUATING:
      return absl::StrCat("evaluating the final weights", AndWaits(status));
    case v1::FINISHED:
      return absl::StrCat("finished", status.stop_reason().empty() ? "" : ": ", Printable(status.stop_reason()));
    default:
      return absl::StrCat("state ", static_cast<int>(status.state()));
  }
}

// Of one of the shards' histograms, since `before`; "" when nothing was counted.
std::string RecentMean(const v1::GetStatusReply& now, const v1::GetStatusReply& before,
                       const v1::Histogram& (v1::ShardStats::*histogram)() const) {
  double sum = 0, count = 0;
  const auto add = [&](const v1::GetStatusReply& status, double sign) {
    for (const v1::ShardStatus& shard : status.shards()) {
      const v1::Histogram& values = (shard.stats().*histogram)();
      sum += sign * values.sum();
      for (const std::uint64_t n : values.counts()) count += sign * static_cast<double>(n);
    }
  };
  add(now, 1);
  add(before, -1);
  return count > 0 && sum >= 0 ? absl::StrFormat("%.1f", sum / count) : "";
}

// Loss, accuracy, speed, gap, delay: what is known of them.
std::vector<std::string> Metrics(const v1::GetStatusReply& now, const v1::GetStatusReply& before) {
  std::vector<std::string> words;
  if (!now.training().empty()) {
    words.push_back(absl::StrFormat("loss %.4f", now.training(now.training_size() - 1).loss()));
  }
  if (!now.evaluations().empty()) {
    double best = 0;
    for (const v1::Evaluation& evaluation : now.evaluations()) best = std::max(best, evaluation.accuracy());
    words.push_back(absl::StrFormat("accuracy %.2f %% (best %.2f %%)",
                                    100 * now.evaluations(now.evaluations_size() - 1).accuracy(), 100 * best));
  }
  const double rate =
      (static_cast<double>(now.samples()) - static_cast<double>(before.samples())) / (now.seconds() - before.seconds());
  words.push_back(
      absl::StrCat(FormatCount(rate > 0 && rate < 1e15 ? static_cast<std::uint64_t>(rate) : 0), " samples/s"));

  // Means as the shards counted them: clocks that workers reported at different moments would show a gap that
  // never was.
  const std::string gap = RecentMean(now, before, &v1::ShardStats::gap);
  const std::int64_t bound = now.policy().staleness_bound();
  if (!gap.empty()) {
    words.push_back(absl::StrCat("gap ", gap, bound < 0 ? " (no bound)" : absl::StrCat(" (bound ", bound, ")")));
  }
  const std::string delay = RecentMean(now, before, &v1::ShardStats::delay);
  if (!delay.empty()) {
    const std::uint64_t limit = now.delay_limit();
    words.push_back(absl::StrCat("delay ", delay, limit == 0 ? "" : absl::StrCat(" (limit ", limit, ")")));
  }
  // Every push goes to every shard.
  std::uint64_t refused = 0, partial = 0;
  for (const v1::ShardStatus& shard : now.shards()) {
    refused = std::max<std::uint64_t>(refused, shard.stats().pushes_refused());
    partial = std::max<std::uint64_t>(partial, shard.stats().pushes_partial());
  }
  if (refused > 0) words.push_back(absl::StrCat("refused ", FormatCount(refused)));
  if (partial > 0) words.push_back(absl::StrCat("partial ", FormatCount(partial)));
  return words;
}

// "compute 71 %, blocked 22 % (on worker-2), pull 4 %": largest first, what is below 1 % left out.
// `self`: whose time it is; null: of all together.
std::string TimeShares(const v1::GetStatusReply& status, const v1::WorkerStatus* self, const v1::Progress& now,
                       const v1::Progress& before) {
  const v1::PhaseSeconds& a = now.seconds();
  const v1::PhaseSeconds& b = before.seconds();
  std::vector<std::pair<double, std::string>> phases = {
      {Growth(a.data(), b.data()), "data"},          {Growth(a.pull(), b.pull()), "pull"},
      {Growth(a.compute(), b.compute()), "compute"}, {Growth(a.push(), b.push()), "push"},
      {Growth(a.blocked(), b.blocked()), "blocked"}, {Growth(a.paced(), b.paced()), "paced"}};
  double total = 0;
  for (const auto& phase : phases) total += phase.first;
  if (!(total > 0)) return "";

  std::map<std::uint32_t, double> waited;
  for (const v1::BlockedOn& on : now.blocked_on()) waited[on.worker_id()] += on.seconds();
  for (const v1::BlockedOn& on : before.blocked_on()) waited[on.worker_id()] -= on.seconds();
  const auto longest =
      std::max_element(waited.begin(), waited.end(), [](const auto& x, const auto& y) { return x.second < y.second; });
  std::string culprit;
  if (longest != waited.end() && longest->second > 0) {
    const v1::WorkerStatus* worker = FindWorker(status, longest->first);
    const std::string name = worker == nullptr ? "a worker that left" : Printable(worker->name());
    culprit = absl::StrCat(" (on ", worker != nullptr && worker == self ? kItsOwnPush : name, ")");
  }

  std::stable_sort(phases.begin(), phases.end(), [](const auto& x, const auto& y) { return x.first > y.first; });
  std::vector<std::string> words;
  for (const auto& [seconds, name] : phases) {
    if (seconds < 0.01 * total) continue;
    words.push_back(absl::StrFormat("%s %.0f %%%s", name, 100 * seconds / total, name == "blocked" ? culprit : ""));
  }
  return absl::StrJoin(words, ", ");
}

std::string WorkerLine(const v1::GetStatusReply& now, const v1::GetStatusReply& before, const v1::WorkerStatus& worker,
                       int name_width) {
  std::string name = Printable(worker.name());
  if (name.size() > static_cast<std::size_t>(name_width)) name.resize(static_cast<std::size_t>(name_width));
  std::string line = absl::StrFormat("  %-*s", name_width, name);
  if (worker.role() == v1::EVALUATOR) {
    return absl::StrCat(line, "  evaluator", worker.state() == "observer" ? "" : ", " + Printable(worker.state()));
  }
  absl::StrAppendFormat(&line, "  clock %7s", FormatCount(worker.clock()));
  if (worker.state() != "live") {
    return absl::StrCat(line, "  ", Printable(worker.state()), worker.reason().empty() ? "" : ": ",
                        Printable(worker.reason()));
  }
  const v1::WorkerStatus* then = FindWorker(before, worker.worker_id());
  const double rate = std::isfinite(worker.samples_per_second()) ? std::max(0.0, worker.samples_per_second()) : 0;
  absl::StrAppendFormat(&line, "  %8s/s  ", FormatCount(static_cast<std::uint64_t>(rate)));
  return line + TimeShares(now, &worker, worker.progress(), then == nullptr ? v1::Progress() : then->progress());
}

}  // namespace

std::vector<std::string> RenderBlock(const v1::GetStatusReply& now, const v1::GetStatusReply& before, ScreenSize size) {
  const std::size_t columns = static_cast<std::size_t>(std::max(size.columns, 1));
  const std::size_t rows = static_cast<std::size_t>(std::max(size.rows, 1));
  std::vector<std::string> lines;
  if (now.state() == v1::TRAINING) {
    std::string line = absl::StrCat(StateText(now), ", ", EpochText(now));
    const double done = FractionDone(now);
    if (done > 0) {
      const int bar = std::min(24, size.columns - 64);  // narrower screens need the room for the words
      absl::StrAppend(&line, " ", bar >= 8 ? Bar(done, bar) : "", absl::StrFormat(" %.0f %%", 100 * done));
    }
    absl::StrAppend(&line, ", ", FormatClockTime(now.seconds()));
    const std::string left = TimeLeft(now, before);
    if (!left.empty()) absl::StrAppend(&line, ", ", left);
    lines.push_back(std::move(line));
  } else {
    lines.push_back(StateText(now));
  }
  if (now.state() == v1::TRAINING && !now.waiting_for().empty()) lines.push_back("  " + WaitsText(now));
  if (now.state() != v1::STARTING) {
    std::vector<std::string> metrics = Metrics(now, before);
    metrics.front().insert(0, "  ");
    const std::vector<std::string> wrapped = WrapWords(metrics, "  ", columns);
    lines.insert(lines.end(), wrapped.begin(), wrapped.end());
  }

  std::size_t name_width = 8;
  for (const v1::WorkerStatus& worker : now.workers()) name_width = std::max(name_width, worker.name().size());
  name_width = std::min<std::size_t>(name_width, 20);
  for (const v1::WorkerStatus& worker : now.workers()) {
    // Those who left or expired came back under another id, or are news of the past.
    if (worker.state() == "left" || worker.state() == "expired") continue;
    lines.push_back(WorkerLine(now, before, worker, static_cast<int>(name_width)));
  }
  for (const std::string& wait : WaitLines(now, kMostWaits)) lines.push_back("  " + wait);
  if (!now.events().empty()) {
    lines.push_back(absl::StrCat("  last event: ", Printable(now.events(now.events_size() - 1))));
  }
  if (lines.size() > rows) {
    const std::size_t hidden = lines.size() - (rows - 1);
    lines.resize(rows - 1);
    lines.push_back(absl::StrCat("  ... and ", hidden, " more"));
  }
  for (std::string& line : lines) {
    if (line.size() > columns) line.resize(columns);
  }
  return lines;
}

std::vector<std::string> RenderWords(const v1::GetStatusReply& now, const v1::GetStatusReply& before) {
  if (now.state() != v1::TRAINING) return {StateText(now)};
  std::vector<std::string> words = {FormatClockTime(now.seconds()), EpochText(now)};
  if (!now.waiting_for().empty()) words.push_back(WaitsText(now));
  const std::vector<std::string> metrics = Metrics(now, before);
  words.insert(words.end(), metrics.begin(), metrics.end());
  v1::Progress all, all_before;  // of the trainers together
  const auto add = [](const v1::GetStatusReply& status, v1::Progress* sum) {
    for (const v1::WorkerStatus& worker : status.workers()) {
      const v1::PhaseSeconds& seconds = worker.progress().seconds();
      v1::PhaseSeconds* to = sum->mutable_seconds();
      to->set_data(to->data() + seconds.data());
      to->set_pull(to->pull() + seconds.pull());
      to->set_compute(to->compute() + seconds.compute());
      to->set_push(to->push() + seconds.push());
      to->set_blocked(to->blocked() + seconds.blocked());
      to->set_paced(to->paced() + seconds.paced());
    }
  };
  add(now, &all);
  add(before, &all_before);
  const std::string shares = TimeShares(now, nullptr, all, all_before);
  if (!shares.empty()) words.push_back(shares);
  const std::string left = TimeLeft(now, before);
  if (!left.empty()) words.push_back(left);
  return words;
}

std::string RenderLine(const v1::GetStatusReply& now, const v1::GetStatusReply& before) {
  return absl::StrJoin(RenderWords(now, before), "  ");
}

double FractionDone(const v1::GetStatusReply& status) {
  const v1::StopConfig& stop = status.policy().stop();
  double done = 0;
  if (status.total_samples() > 0) {
    done = static_cast<double>(status.samples()) / static_cast<double>(status.total_samples());
  }
  if (stop.steps() > 0) {
    done = std::max(done, static_cast<double>(status.steps()) / static_cast<double>(stop.steps()));
  }
  if (stop.minutes() > 0) done = std::max(done, status.seconds() / (60 * stop.minutes()));
  return std::isfinite(done) ? std::clamp(done, 0.0, 1.0) : 0;
}

}  // namespace leeway
