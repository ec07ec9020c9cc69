#include "cli/admin/status_text.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/display.h"
#include "cli/report/format.h"
#include "cli/report/proto_json.h"
#include "cli/text_table.h"
#include "cli/why/wait_lines.h"
#include "cli/why/why_table.h"
#include "server/policy_settings.h"

namespace leeway {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kEvents = 5;

std::string Dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

double MeanOf(const v1::Histogram& histogram) {
  double count = 0;
  for (const std::uint64_t n : histogram.counts()) count += static_cast<double>(n);
  return count > 0 ? histogram.sum() / count : 0;
}

// What a terminal shows without wrapping.
constexpr std::size_t kColumns = 80;

std::string Lines(const std::vector<std::string>& lines) { return absl::StrCat(absl::StrJoin(lines, "\n"), "\n"); }

// "0.8 / 3"
std::string MeanAndMax(const v1::Histogram& histogram) {
  return absl::StrFormat("%.1f / %d", MeanOf(histogram), histogram.max());
}

std::string Share(double part, double whole) {
  return whole > 0 ? absl::StrFormat("%.0f %%", 100 * part / whole) : "-";
}

// Whom `self` was blocked on for the longest, or "".
std::string BlockedOn(const v1::GetStatusReply& status, const v1::WorkerStatus& self) {
  const v1::Progress& progress = self.progress();
  const auto longest =
      std::max_element(progress.blocked_on().begin(), progress.blocked_on().end(),
                       [](const v1::BlockedOn& a, const v1::BlockedOn& b) { return a.seconds() < b.seconds(); });
  if (longest == progress.blocked_on().end() || !(longest->seconds() > 0)) return "";
  if (longest->worker_id() == self.worker_id()) return "own push";
  for (const v1::WorkerStatus& worker : status.workers()) {
    if (worker.worker_id() == longest->worker_id()) return worker.name();
  }
  return "";
}

// With the reason of whoever is gone.
std::string StateOf(const v1::WorkerStatus& worker) {
  const std::string state = worker.state() == "observer" ? "evaluator" : worker.state();
  return worker.reason().empty() ? state : absl::StrCat(state, ": ", worker.reason());
}

std::string ShardsText(const v1::GetStatusReply& status) {
  TextTable table({">ps", "address", "state", ">version", ">gap", ">delay", ">in", ">out"});
  for (const v1::ShardStatus& shard : status.shards()) {
    const v1::ShardStats& stats = shard.stats();
    table.Add({absl::StrCat(shard.index()), shard.address().empty() ? "-" : shard.address(),
               shard.connected() ? "here" : "missing", FormatCount(stats.version()), MeanAndMax(stats.gap()),
               MeanAndMax(stats.delay()), FormatBytes(static_cast<double>(stats.push_bytes())),
               FormatBytes(static_cast<double>(stats.pull_bytes()))});
  }
  return absl::StrCat(table.Render(), "gap, delay: mean / most\n");
}

std::string PolicyLine(const v1::GetStatusReply& status) {
  std::vector<std::string> words = {absl::StrCat("policy ", status.policy().number(), ":")};
  for (const auto& [name, value] : SettingsOf(status.policy())) {
    const bool grows = name == "max_delay" && status.policy().max_delay_sqrt();
    words.push_back(absl::StrCat(name, "=", value, grows ? absl::StrCat(" (now ", status.delay_limit(), ")") : ""));
  }
  return absl::StrCat(Lines(WrapWords(words, " ", kColumns)),
                      status.policy_waits_for().empty()
                          ? ""
                          : absl::StrCat("  is changing: ", Printable(status.policy_waits_for()), "\n"));
}

// Null: the flags of ps 0 say it.
Json SettingsJson(const v1::Policy& policy) {
  Json settings = Json::object();
  for (const auto& [name, value, allowed] : AllSettings(policy)) {
    std::int64_t whole = 0;
    double number = 0;
    if (value.empty()) {
      settings[name] = nullptr;
    } else if (absl::SimpleAtoi(value, &whole)) {
      settings[name] = whole;
    } else if (absl::SimpleAtod(value, &number)) {
      settings[name] = JsonNumber(number);
    } else {
      settings[name] = value;
    }
  }
  return settings;
}

}  // namespace

std::string WorkersText(const v1::GetStatusReply& status) {
  TextTable table({"worker", ">clock", ">samples/s", ">loss", ">refused", ">compute", ">blocked", "on", "state"});
  for (const v1::WorkerStatus& worker : status.workers()) {
    const v1::Progress& progress = worker.progress();
    const double all = TimeOf(progress.seconds());
    if (worker.role() != v1::TRAINER) {
      table.Add({worker.name(), "-", "-", "-", "-", "-", "-", "", StateOf(worker)});
      continue;
    }
    table.Add({worker.name(), FormatCount(worker.clock()),
               absl::StrFormat("%.0f", std::max(0.0, worker.samples_per_second())),
               progress.samples() > 0 ? absl::StrFormat("%.4f", worker.recent_loss()) : "-",
               FormatCount(progress.pushes_refused()), Share(progress.seconds().compute(), all),
               Share(progress.seconds().blocked(), all), BlockedOn(status, worker), StateOf(worker)});
  }
  return table.Render() + WaitLinesText(status);
}

std::string WorkersJson(const v1::GetStatusReply& status) {
  Json list = Json::array();
  for (const v1::WorkerStatus& worker : status.workers()) list.push_back(ToJson(worker));
  return Dump(list);
}

std::string StatusText(const v1::GetStatusReply& status) {
  std::string text = absl::StrFormat("run %016x", status.run_id());
  if (status.elements() > 0) {
    absl::StrAppend(&text, ", ", Printable(status.model()), " with ", FormatCount(status.elements()), " parameters");
  }
  std::vector<std::string> words = RenderWords(status, v1::GetStatusReply());
  if (status.state() == v1::TRAINING) words.insert(words.begin(), "training");
  absl::StrAppend(&text, ", membership epoch ", status.membership_epoch(), "\n",
                  Lines(WrapWords(words, "  ", kColumns)), PolicyLine(status), "\n", WorkersText(status), "\n",
                  ShardsText(status));
  const int first = std::max(0, status.events_size() - kEvents);
  if (first < status.events_size()) absl::StrAppend(&text, "\nnewest events (seconds since the start)\n");
  for (int i = first; i < status.events_size(); ++i) absl::StrAppend(&text, "  ", Printable(status.events(i)), "\n");
  return text;
}

std::string StatusJson(const v1::GetStatusReply& status) {
  Json json = ToJson(status);
  json["run_id"] = absl::StrFormat("%016x", status.run_id());  // other readers round numbers above 2^53
  json["settings"] = SettingsJson(status.policy());
  return Dump(json);
}

std::string PolicyText(const v1::Policy& policy) {
  TextTable table({"setting", "value", "allowed"});
  for (const SettingText& setting : AllSettings(policy)) {
    table.Add({setting.name, setting.value.empty() ? "(flag of ps 0)" : setting.value, setting.allowed});
  }
  return absl::StrCat("policy ", policy.number(), "\n", table.Render());
}

std::string PolicyJson(const v1::Policy& policy) {
  return Dump(Json{{"number", policy.number()}, {"settings", SettingsJson(policy)}});
}

}  // namespace leeway
