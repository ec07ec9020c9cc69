// What `leeway set` takes: names, values, and what is refused.
#include "server/policy_settings.h"

#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Settings = std::vector<std::pair<std::string, std::string>>;

v1::Policy Start() {
  v1::Policy policy;
  policy.set_number(3);
  policy.set_staleness_bound(8);
  policy.set_max_delay(-1);
  policy.set_num_workers(2);
  policy.set_quarantine_after(10);
  policy.mutable_schedule()->set_rate(0.1);
  return policy;
}

absl::StatusOr<v1::Policy> With(const Settings& settings, const v1::Policy& policy = Start()) {
  google::protobuf::RepeatedPtrField<v1::PolicySetting> list;
  for (const auto& [name, value] : settings) {
    v1::PolicySetting& setting = *list.Add();
    setting.set_name(name);
    setting.set_value(value);
  }
  v1::CheckpointTimes by_flags;
  by_flags.set_steps(500);
  by_flags.set_interval_seconds(300);
  return WithSettings(policy, list, by_flags);
}

std::string ValueOf(const v1::Policy& policy, const std::string& wanted) {
  for (const auto& [name, value] : SettingsOf(policy)) {
    if (name == wanted) return value;
  }
  return "none";
}

TEST_CASE("Settings: each of them is set, shown as it was given, and nothing else changes") {
  const Settings all = {{"staleness_bound", "-1"},   {"max_delay", "12"},      {"delay_policy", "scale"},
                        {"push_atomicity", "whole"}, {"clip_norm", "0.5"},     {"learning_rate", "0.025"},
                        {"quarantine_after", "0"},   {"checkpoint_steps", "7"}};
  for (const auto& setting : all) {
    const auto next = With({setting});
    REQUIRE(next.ok());
    CHECK(ValueOf(*next, setting.first) == setting.second);
    CHECK(next->number() == 3);
    const auto back = With({{setting.first, ValueOf(Start(), setting.first)}}, *next);
    if (setting.first != "checkpoint_steps" && setting.first != "clip_norm") {
      REQUIRE(back.ok());
      CHECK(back->SerializeAsString() == Start().SerializeAsString());
    }
  }
  const auto both = With(all);
  REQUIRE(both.ok());
  CHECK(both->staleness_bound() == -1);
  CHECK(both->max_delay() == 12);
  CHECK(SettingChanges(Start(), *With({{"staleness_bound", "2"}, {"learning_rate", "0.05"}})) ==
        "staleness_bound: 8 -> 2; learning_rate: 0.1 -> 0.05");
  CHECK(SettingChanges(Start(), Start()).empty());
}

TEST_CASE("Settings: a max_delay that grows, and one that does not again") {
  const auto sqrt = With({{"max_delay", "sqrt"}});
  REQUIRE(sqrt.ok());
  CHECK(ValueOf(*sqrt, "max_delay") == "sqrt");
  CHECK(sqrt->max_delay_sqrt());
  CHECK(SettingChanges(Start(), *sqrt) == "max_delay: -1 -> sqrt");
  const auto fixed = With({{"max_delay", "12"}}, *sqrt);
  REQUIRE(fixed.ok());
  CHECK_FALSE(fixed->max_delay_sqrt());
  CHECK(With({{"max_delay", "-1"}}, *fixed)->SerializeAsString() == Start().SerializeAsString());
}

TEST_CASE("Settings: dc and its lambda, in any order; without dc there is none") {
  const auto dc = With({{"delay_policy", "dc"}});
  REQUIRE(dc.ok());
  CHECK(ValueOf(*dc, "delay_policy") == "dc");
  CHECK(ValueOf(*dc, "dc_lambda") == "0.04");
  CHECK(SettingChanges(Start(), *dc) == "delay_policy: apply -> dc; dc_lambda: 0 -> 0.04");
  CHECK(ValueOf(*With({{"dc_lambda", "0.5"}}, *dc), "dc_lambda") == "0.5");
  CHECK(ValueOf(*With({{"dc_lambda", "2"}, {"delay_policy", "dc"}}), "dc_lambda") == "2");
  CHECK(With({{"delay_policy", "apply"}}, *dc)->SerializeAsString() == Start().SerializeAsString());
  CHECK(ValueOf(*With({{"delay_policy", "scale"}}, *dc), "dc_lambda") == "0");
  for (const char* lambda : {"0", "-1", "nan", "inf", "1e7", "x"}) {
    CHECK(Says(With({{"dc_lambda", lambda}}, *dc).status(), Code::kInvalidArgument, {"dc_lambda=", "above 0"}));
  }
  CHECK(Says(With({{"dc_lambda", "0.5"}}).status(), Code::kInvalidArgument, {"dc_lambda=0.5", "--delay_policy=dc"}));
}

TEST_CASE("Settings: a final rate only where the schedule has one") {
  v1::Policy cosine = Start();
  cosine.mutable_schedule()->set_kind(v1::ScheduleConfig::COSINE);
  cosine.mutable_schedule()->set_total_samples(1000);
  CHECK(ValueOf(*With({{"final_learning_rate", "0.001"}}, cosine), "final_learning_rate") == "0.001");
  CHECK(With({{"final_learning_rate", "0.5"}, {"learning_rate", "1"}}, cosine).ok());
  v1::Policy step = Start();
  step.mutable_schedule()->set_kind(v1::ScheduleConfig::STEP);
  step.mutable_schedule()->set_step_samples(10);
  step.mutable_schedule()->set_gamma(0.5);
  REQUIRE(With({{"learning_rate", "0.2"}}, step).ok());
  for (const v1::Policy& policy : {Start(), step}) {
    CHECK(Says(With({{"final_learning_rate", "0.001"}}, policy).status(), Code::kInvalidArgument,
               {"final_learning_rate=0.001", "--schedule=cosine"}));
  }
}

TEST_CASE("Settings: checkpoints go by the flags until one of theirs is set") {
  CHECK(ValueOf(*With({{"staleness_bound", "2"}}), "checkpoint_interval") == "none");
  const auto steps = With({{"checkpoint_steps", "7"}});
  CHECK(ValueOf(*steps, "checkpoint_interval") == "5m");
  const auto never = With({{"checkpoint_interval", "inf"}}, *steps);
  CHECK(ValueOf(*never, "checkpoint_interval") == "inf");
  CHECK(never->checkpoint_times().interval_seconds() == 0);
  CHECK(ValueOf(*never, "checkpoint_steps") == "7");
  CHECK(SettingChanges(Start(), *steps) ==
        "checkpoint_steps: by the flags -> 7; checkpoint_interval: by the flags -> 5m");
  CHECK(Says(With({{"checkpoint_interval", "10ms"}}).status(), Code::kInvalidArgument, {"1s and above, or inf"}));
}

TEST_CASE("Settings: clipping needs whole pushes") {
  const auto clipped = With({{"clip_norm", "1"}});
  CHECK(ValueOf(*With({{"clip_norm", "10"}}), "clip_norm") == "10");  // not 1e+01
  REQUIRE(clipped.ok());
  CHECK(clipped->push_atomicity() == v1::WHOLE);
  CHECK(Says(With({{"clip_norm", "1"}, {"push_atomicity", "stream"}}).status(), Code::kInvalidArgument,
             {"push_atomicity=stream", "clip_norm"}));
  CHECK(Says(With({{"push_atomicity", "stream"}}, *clipped).status(), Code::kInvalidArgument, {"clip_norm"}));
  CHECK(With({{"clip_norm", "0"}, {"push_atomicity", "stream"}}, *clipped)->push_atomicity() == v1::STREAM);
}

TEST_CASE("Settings: what is wrong is named, with what is allowed") {
  const Settings wrong = {
      {"staleness_bound", "1.5"},   {"staleness_bound", ""},    {"staleness_bound", "-2"},
      {"max_delay", "0"},           {"delay_policy", "square"}, {"push_atomicity", "half"},
      {"clip_norm", "-1"},          {"clip_norm", "nan"},       {"learning_rate", "0"},
      {"learning_rate", "inf"},     {"quarantine_after", "-1"}, {"checkpoint_steps", "-1"},
      {"checkpoint_interval", "5"}, {"learning_rate", "1e9"},   {"max_delay", "99999999999999999999"},
      {"max_delay", "root"}};
  for (const auto& setting : wrong) {
    INFO(setting.first << "=" << setting.second);
    const absl::Status status = With({setting}).status();
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(std::string(status.message()).find("allowed") != std::string::npos);
  }
  CHECK(Says(With({{"stalenessbound", "1"}}).status(), Code::kInvalidArgument, {"did you mean staleness_bound?"}));
  CHECK(Says(With({{"optimiser", "sgd"}}).status(), Code::kInvalidArgument, {"did you mean optimizer?"}));
  CHECK(Says(With({{"optimizer", "sgd"}}).status(), Code::kInvalidArgument, {"fixed for the whole run", "max_delay"}));
  CHECK(Says(With({{"colour", "blue"}}).status(), Code::kInvalidArgument, {"\"colour\"", "staleness_bound"}));
  CHECK(Says(With({{"max_delay", "3"}, {"max_delay", "4"}}).status(), Code::kInvalidArgument, {"given twice"}));
}

TEST_CASE("Settings: in rounds there is no bound and no delay to set") {
  v1::Policy rounds = Start();
  rounds.set_aggregation(v1::ROUND);
  rounds.set_staleness_bound(0);
  rounds.set_data_sharing(v1::STATIC);
  CHECK(With({{"learning_rate", "0.2"}}, rounds).ok());
  CHECK(Says(With({{"staleness_bound", "2"}}, rounds).status(), Code::kInvalidArgument, {"staleness_bound"}));
  CHECK(Says(With({{"max_delay", "2"}}, rounds).status(), Code::kInvalidArgument, {"round"}));
  CHECK(Says(With({{"delay_policy", "dc"}}, rounds).status(), Code::kInvalidArgument, {"round"}));
}

}  // namespace
}  // namespace leeway
