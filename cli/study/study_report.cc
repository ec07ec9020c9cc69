#include "cli/study/study_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/report/format.h"
#include "cli/text_table.h"
#include "nlohmann/json.hpp"

namespace leeway {
namespace {

constexpr char kNotModelled[] = "bandwidth, contention, a ps's own time, disks";

std::string Percent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

// "8 workers, steps of 1 s with 2 % jitter, 1 worker always 4 times slower"
std::string Scenario(const StudySetting& setting) {
  const Stragglers& s = setting.stragglers;
  std::string text =
      absl::StrCat(FormatCount(setting.workers), setting.workers == 1 ? " worker" : " workers", ", steps of ",
                   FormatSeconds(setting.step_seconds), " with ", 100 * s.jitter, " % jitter");
  if (setting.message_seconds > 0) absl::StrAppend(&text, ", messages of ", FormatSeconds(setting.message_seconds));
  if (s.slow_steps > 0) {
    absl::StrAppend(&text, ", ", 100 * s.slow_steps, " % of the steps ", s.slow_step_factor, " times slower");
  }
  if (setting.slow_workers > 0) {
    absl::StrAppend(&text, ", ", FormatCount(setting.slow_workers), " of the workers always ", s.slow_worker_factor,
                    " times slower");
  }
  if (s.life > 0) {
    absl::StrAppend(&text, ", each dies after ", FormatSeconds(s.life * setting.step_seconds), " in the mean, is away ",
                    FormatSeconds(s.away * setting.step_seconds), " and has a lease of ",
                    FormatSeconds(setting.lease_seconds));
  }
  return text;
}

// Of pushes per second: so many that the fastest policy has four digits.
int Decimals(const std::vector<StudyRow>& rows) {
  double fastest = 0;
  for (const StudyRow& row : rows) fastest = std::max(fastest, row.result.PushesPerSecond());
  return fastest > 0 ? std::clamp(3 - static_cast<int>(std::floor(std::log10(fastest))), 0, 9) : 2;
}

nlohmann::ordered_json CountsJson(const Counts& counts) {
  nlohmann::ordered_json json;
  json["mean"] = counts.Mean();
  json["p50"] = counts.Quantile(0.5);
  json["p99"] = counts.Quantile(0.99);
  json["max"] = counts.Max();
  // Buckets 0, 1, 2 to 3, 4 to 7, ...
  auto& histogram = json["histogram"] = nlohmann::ordered_json::array();
  std::uint64_t first = 0, last = 0, count = 0;
  const auto add = [&] {
    if (count > 0) histogram.push_back({{"from", first}, {"to", last}, {"count", count}});
    count = 0;
  };
  for (const auto& [value, times] : counts.counts()) {
    while (value > last) {
      add();
      first = last + 1;
      last = 2 * last + 1;
    }
    count += times;
  }
  add();
  return json;
}

nlohmann::ordered_json SettingJson(const StudySetting& setting) {
  const Stragglers& s = setting.stragglers;
  nlohmann::ordered_json json = {
      {"workers", setting.workers},
      {"pushes", setting.pushes},
      {"seed", setting.seed},
      {"step_seconds", setting.step_seconds},
      {"message_seconds", setting.message_seconds},
      {"lease_seconds", setting.lease_seconds},
      {"jitter", s.jitter},
      {"slow_steps", {{"fraction", s.slow_steps}, {"factor", s.slow_step_factor}}},
      {"slow_workers", {{"count", setting.slow_workers}, {"factor", s.slow_worker_factor}}},
      {"deaths", {{"life", s.life}, {"away", s.away}}},
  };
  if (setting.model.empty()) return json;
  json["model"] = setting.model;
  json["data"] = setting.data;
  json["batch"] = setting.batch;
  json["optimizer"] = setting.optimizer;
  json["learning_rate"] = setting.learning_rate;
  if (setting.target) json["target"] = {{setting.target->accuracy ? "accuracy" : "loss", setting.target->value}};
  return json;
}

nlohmann::ordered_json TrainingJson(const StudySetting& setting, const StudyRow& row) {
  nlohmann::ordered_json json;
  if (!row.evaluations.empty()) {
    json["final_accuracy"] = row.evaluations.back().accuracy;
    json["final_loss"] = row.evaluations.back().loss;
  }
  json["nonfinite_gradients"] = row.nonfinite;
  if (setting.target) {
    const std::optional<double> seconds = SecondsTo(*setting.target, row.evaluations);
    json["seconds_to_target"] = seconds ? nlohmann::ordered_json(*seconds) : nlohmann::ordered_json();
  }
  auto& curve = json["curve"] = nlohmann::ordered_json::array();
  for (const ModelLearner::Evaluation& point : row.evaluations) {
    curve.push_back(
        {{"seconds", point.seconds}, {"samples", point.samples}, {"loss", point.loss}, {"accuracy", point.accuracy}});
  }
  return json;
}

}  // namespace

std::optional<double> SecondsTo(const StudyTarget& target, const std::vector<ModelLearner::Evaluation>& evaluations) {
  for (const ModelLearner::Evaluation& point : evaluations) {
    if (target.accuracy ? point.accuracy >= target.value : point.loss <= target.value) return point.seconds;
  }
  return std::nullopt;
}

std::string StudyTable(const StudySetting& setting, const std::vector<StudyRow>& rows) {
  const bool trained = !setting.model.empty();
  std::vector<std::string> headers = {"policy",      ">pushes/s",  ">ratio",    ">blocked", ">wasted",
                                      ">mean delay", ">p99 delay", ">mean gap", ">max gap"};
  if (setting.stragglers.life > 0) headers.push_back(">deaths");
  if (trained) headers.insert(headers.end(), {">accuracy", ">loss"});
  if (setting.target) {
    headers.push_back(absl::StrCat(">time to ", setting.target->accuracy
                                                    ? Percent(setting.target->value)
                                                    : absl::StrCat("loss ", setting.target->value)));
  }
  TextTable table(headers);
  std::string remarks;
  const double first = rows.empty() ? 0 : rows[0].result.PushesPerSecond();
  const int decimals = Decimals(rows);
  for (const StudyRow& row : rows) {
    const SimResult& result = row.result;
    std::vector<std::string> cells = {row.policy.name,
                                      absl::StrFormat("%.*f", decimals, result.PushesPerSecond()),
                                      first > 0 ? absl::StrFormat("%.2f", result.PushesPerSecond() / first) : "-",
                                      Percent(result.BlockedShare()),
                                      Percent(result.WastedShare()),
                                      absl::StrFormat("%.2f", result.delay.Mean()),
                                      absl::StrCat(result.delay.Quantile(0.99)),
                                      absl::StrFormat("%.2f", result.gap.Mean()),
                                      absl::StrCat(result.max_gap)};
    if (setting.stragglers.life > 0) cells.push_back(absl::StrCat(result.deaths));
    if (trained) {
      const bool any = !row.evaluations.empty();
      cells.push_back(any ? Percent(row.evaluations.back().accuracy) : "-");
      const bool finite = any && std::isfinite(row.evaluations.back().loss);
      cells.push_back(finite ? FormatShort(row.evaluations.back().loss) : "-");
    }
    if (setting.target) {
      const std::optional<double> seconds = SecondsTo(*setting.target, row.evaluations);
      cells.push_back(seconds ? FormatSeconds(*seconds) : "-");
    }
    table.Add(std::move(cells));
    if (!result.complete) {
      absl::StrAppend(&remarks, row.policy.name, ": given up after ", FormatCount(result.pushes),
                      " applied pushes: the others come to nothing, or workers die before they push\n");
    }
    if (row.nonfinite > 0) {
      absl::StrAppend(&remarks, row.policy.name, ": diverged, ", FormatCount(row.nonfinite),
                      " gradients with a NaN or an infinity: the learning rate is too high\n");
    }
  }
  std::string text =
      absl::StrCat(Scenario(setting), "; ", FormatCount(setting.pushes), " pushes, seed ", setting.seed, "\n");
  if (trained) {
    absl::StrAppend(&text, setting.model, " on ", setting.data, ", batches of ", setting.batch, ", ", setting.optimizer,
                    " with rate ", setting.learning_rate, " where the policy has none of its own\n");
  }
  absl::StrAppend(&text, "\n", table.Render(), "\n", remarks,
                  "ratio: to the first policy; wasted: pushes that were refused, dropped or lost; delay: of applied "
                  "pushes\npaced, simulated time, not the speed of any machine; not modelled: ",
                  kNotModelled, "\n");
  if (trained) {
    absl::StrAppend(&text, "learning rates are yours: give each policy its best one (+rate:V), and try other seeds\n");
  }
  return text;
}

std::string StudyJson(const StudySetting& setting, const std::vector<StudyRow>& rows) {
  nlohmann::ordered_json json;
  json["simulated"] = true;
  json["not_modelled"] = kNotModelled;
  json["setting"] = SettingJson(setting);
  auto& policies = json["policies"] = nlohmann::ordered_json::array();
  for (const StudyRow& row : rows) {
    const SimResult& result = row.result;
    nlohmann::ordered_json policy = {
        {"name", row.policy.name},
        {"flags", absl::StrCat(row.policy.flags, " --pipeline_depth=", row.depth)},
        {"complete", result.complete},
        {"seconds", result.seconds},
        {"pushes", result.pushes},
        {"pushes_per_second", result.PushesPerSecond()},
        {"blocked_share", result.BlockedShare()},
        {"refused", result.refused},
        {"dropped", result.dropped},
        {"lost", result.lost},
        {"wasted_share", result.WastedShare()},
        {"deaths", result.deaths},
        {"delay", CountsJson(result.delay)},
        {"gap", CountsJson(result.gap)},
    };
    policy["max_gap"] = result.max_gap;
    if (!setting.model.empty()) policy["training"] = TrainingJson(setting, row);
    policies.push_back(std::move(policy));
  }
  return json.dump(2) + "\n";
}

}  // namespace leeway
