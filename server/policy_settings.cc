#include "server/policy_settings.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/flags.h"
#include "common/status_macros.h"
#include "kernels/schedule.h"
#include "server/check_policy.h"
#include "server/delay_policy.h"
#include "server/max_delay.h"

namespace leeway {
namespace {

constexpr FlagChoice<v1::PushAtomicity> kAtomicities[] = {{"stream", v1::STREAM}, {"whole", v1::WHOLE}};

// A short text that gives the same number again: 10, not 1e+01.
std::string Number(double value) {
  for (int digits = 6; digits < 17; ++digits) {
    char text[40];
    std::snprintf(text, sizeof(text), "%.*g", digits, value);
    double back = 0;
    if (absl::SimpleAtod(text, &back) && back == value) return text;
  }
  return absl::StrCat(value);
}

template <typename Set>
bool Integer(const std::string& text, Set set) {
  std::int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) return false;
  set(value);
  return true;
}

template <typename Set>
bool Finite(const std::string& text, Set set) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value) || !(value >= 0) || std::isinf(value)) return false;
  set(value);
  return true;
}

// What a schedule says of its rate alone.
v1::ScheduleConfig OnlyRate(const v1::ScheduleConfig& schedule) {
  v1::ScheduleConfig only;
  only.set_rate(schedule.rate());
  return only;
}

constexpr absl::Duration kShortestInterval = absl::Seconds(1);

bool SetInterval(const std::string& text, v1::Policy* policy) {
  absl::Duration interval;
  if (!absl::ParseDuration(text, &interval) || interval < kShortestInterval) return false;
  const bool never = interval == absl::InfiniteDuration();
  policy->mutable_checkpoint_times()->set_interval_seconds(never ? 0 : absl::ToDoubleSeconds(interval));
  return true;
}

std::string GetInterval(const v1::Policy& policy) {
  const double seconds = policy.checkpoint_times().interval_seconds();
  return seconds == 0 ? "inf" : absl::FormatDuration(absl::Seconds(seconds));
}

struct Setting {
  const char* name;
  const char* allowed;
  bool (*set)(const std::string& value, v1::Policy* policy);  // false: that is no value of it
  std::string (*get)(const v1::Policy& policy);
};

// What no single value says is CheckPolicy's.
const Setting kSettings[] = {
    {"staleness_bound", "-1, 0 and above",
     [](const std::string& text, v1::Policy* policy) {
       return Integer(text, [policy](std::int64_t value) { policy->set_staleness_bound(value); });
     },
     [](const v1::Policy& policy) { return absl::StrCat(policy.staleness_bound()); }},
    {"max_delay", kMaxDelayAllowed, SetMaxDelay, MaxDelayText},
    {"delay_policy", kDelayPolicyAllowed, SetDelayPolicy, DelayPolicyText},
    {"dc_lambda", kDcLambdaAllowed,
     [](const std::string& text, v1::Policy* policy) {
       return CorrectsDelay(*policy) && Finite(text, [policy](double value) { policy->set_dc_lambda(value); }) &&
              CorrectsDelay(*policy);
     },
     [](const v1::Policy& policy) { return Number(policy.dc_lambda()); }},
    {"push_atomicity", "stream, whole",
     [](const std::string& text, v1::Policy* policy) {
       v1::PushAtomicity value = v1::STREAM;
       std::string names;
       if (!ParseChoice(text, kAtomicities, &value, &names)) return false;
       policy->set_push_atomicity(value);
       return true;
     },
     [](const v1::Policy& policy) { return ChoiceName(policy.push_atomicity(), kAtomicities); }},
    {"clip_norm", "0 and above",
     [](const std::string& text, v1::Policy* policy) {
       return Finite(text, [policy](double value) { policy->set_clip_norm(value); });
     },
     [](const v1::Policy& policy) { return Number(policy.clip_norm()); }},
    {"learning_rate", "above 0, at most 1e6",
     [](const std::string& text, v1::Policy* policy) {
       const bool finite = Finite(text, [policy](double value) { policy->mutable_schedule()->set_rate(value); });
       return finite && CheckSchedule(OnlyRate(policy->schedule())).ok();
     },
     [](const v1::Policy& policy) { return Number(policy.schedule().rate()); }},
    {"final_learning_rate", "0 to learning_rate, with --schedule=cosine",
     [](const std::string& text, v1::Policy* policy) {
       if (policy->schedule().kind() != v1::ScheduleConfig::COSINE) return false;  // it would change nothing
       return Finite(text, [policy](double value) { policy->mutable_schedule()->set_final_rate(value); });
     },
     [](const v1::Policy& policy) { return Number(policy.schedule().final_rate()); }},
    {"quarantine_after", "0 and above",
     [](const std::string& text, v1::Policy* policy) {
       std::uint32_t value = 0;
       if (!absl::SimpleAtoi(text, &value)) return false;
       policy->set_quarantine_after(value);
       return true;
     },
     [](const v1::Policy& policy) { return absl::StrCat(policy.quarantine_after()); }},
    {"checkpoint_steps", "0 and above",
     [](const std::string& text, v1::Policy* policy) {
       std::uint64_t value = 0;
       if (!absl::SimpleAtoi(text, &value)) return false;
       policy->mutable_checkpoint_times()->set_steps(value);
       return true;
     },
     [](const v1::Policy& policy) { return absl::StrCat(policy.checkpoint_times().steps()); }},
    {"checkpoint_interval", "1s and above, or inf", SetInterval, GetInterval},
};

// Flags of the policy that a run keeps from its beginning to its end: weights, slots, data and rounds depend on them.
const char* const kFixed[] = {
    "aggregation",
    "round_quorum",
    "optimizer",
    "momentum",
    "nesterov",
    "beta1",
    "beta2",
    "rho",
    "epsilon",
    "weight_decay",
    "l1",
    "l2",
    "beta",
    "group_rate",
    "group_decay",
    "schedule",
    "warmup_samples",
    "schedule_gamma",
    "schedule_step_samples",
    "data_sharing",
    "schedule_total_samples",
    "lease_records",
    "seed",
    "num_workers",
    "num_shards",
    "epochs",
    "steps",
    "minutes",
    "target_metric",
    "patience",
    "lease",
    "pipeline_depth",
};

const Setting* Find(const std::string& name) {
  for (const Setting& setting : kSettings) {
    if (name == setting.name) return &setting;
  }
  return nullptr;
}

bool OfCheckpoints(const Setting& setting) { return absl::StartsWith(setting.name, "checkpoint_"); }

absl::Status Unknown(const std::string& name) {
  std::vector<std::string> names;
  for (const Setting& setting : kSettings) names.push_back(setting.name);
  const std::string all = absl::StrJoin(names, ", ");
  for (const char* fixed : kFixed) {
    if (name == fixed) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is fixed for the whole run; what can be changed while it goes on: ", all));
    }
    names.push_back(fixed);
  }
  const std::string guess = DidYouMean(name, names);
  return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" is no number of the policy",
                                                 guess.empty() ? "" : absl::StrCat(", did you mean ", guess, "?"),
                                                 " (what can be changed: ", all, ")"));
}

}  // namespace

absl::StatusOr<v1::Policy> WithSettings(const v1::Policy& policy,
                                        const google::protobuf::RepeatedPtrField<v1::PolicySetting>& settings,
                                        const v1::CheckpointTimes& by_flags) {
  v1::Policy next = policy;
  std::set<std::string> named;
  for (const v1::PolicySetting& asked : settings) {
    const Setting* setting = Find(asked.name());
    if (setting == nullptr) return Unknown(asked.name());
    if (!named.insert(asked.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat(asked.name(), " is given twice"));
    }
    if (OfCheckpoints(*setting) && !next.has_checkpoint_times()) *next.mutable_checkpoint_times() = by_flags;
  }
  // In the order of the documentation: dc_lambda is one of delay_policy=dc.
  for (const Setting& setting : kSettings) {
    for (const v1::PolicySetting& asked : settings) {
      if (asked.name() != setting.name || setting.set(asked.value(), &next)) continue;
      return absl::InvalidArgumentError(absl::StrCat(asked.name(), "=", asked.value(), ": allowed: ", setting.allowed));
    }
  }
  // The norm is known only when the whole gradient is (policy_flags.cc).
  if (next.clip_norm() > 0 && named.count("push_atomicity") == 0) next.set_push_atomicity(v1::WHOLE);
  if (next.clip_norm() > 0 && next.push_atomicity() == v1::STREAM) {
    return absl::InvalidArgumentError("push_atomicity=stream: allowed: whole with a clip_norm above 0");
  }
  RETURN_IF_ERROR(CheckPolicy(next));
  return next;
}

std::vector<SettingText> AllSettings(const v1::Policy& policy) {
  std::vector<SettingText> settings;
  for (const Setting& setting : kSettings) {
    const bool by_flags = OfCheckpoints(setting) && !policy.has_checkpoint_times();
    settings.push_back({setting.name, by_flags ? "" : setting.get(policy), setting.allowed});
  }
  return settings;
}

std::vector<std::pair<std::string, std::string>> SettingsOf(const v1::Policy& policy) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (SettingText& setting : AllSettings(policy)) {
    if (!setting.value.empty()) settings.emplace_back(std::move(setting.name), std::move(setting.value));
  }
  return settings;
}

std::string SettingChanges(const v1::Policy& before, const v1::Policy& after) {
  std::map<std::string, std::string> old;
  for (auto& [name, value] : SettingsOf(before)) old[name] = value;
  std::vector<std::string> changes;
  for (const auto& [name, value] : SettingsOf(after)) {
    const auto it = old.find(name);
    if (it != old.end() && it->second == value) continue;
    changes.push_back(absl::StrCat(name, ": ", it == old.end() ? "by the flags" : it->second, " -> ", value));
  }
  return absl::StrJoin(changes, "; ");
}

}  // namespace leeway
