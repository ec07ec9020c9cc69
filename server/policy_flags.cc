#include "server/policy_flags.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/flags.h"
#include "common/status_macros.h"
#include "server/check_policy.h"
#include "server/delay_policy.h"
#include "server/max_delay.h"

namespace leeway::v1 {

constexpr FlagChoice<Aggregation> kAggregations[] = {{"each", EACH}, {"round", ROUND}};
constexpr FlagChoice<PushAtomicity> kAtomicities[] = {{"stream", STREAM}, {"whole", WHOLE}};
constexpr FlagChoice<OptimizerConfig::Kind> kOptimizers[] = {
    {"sgd", OptimizerConfig::SGD},         {"momentum", OptimizerConfig::MOMENTUM},
    {"adagrad", OptimizerConfig::ADAGRAD}, {"rmsprop", OptimizerConfig::RMSPROP},
    {"adam", OptimizerConfig::ADAM},       {"adamw", OptimizerConfig::ADAMW},
    {"ftrl", OptimizerConfig::FTRL}};
constexpr FlagChoice<ScheduleConfig::Kind> kSchedules[] = {
    {"constant", ScheduleConfig::CONSTANT}, {"step", ScheduleConfig::STEP}, {"cosine", ScheduleConfig::COSINE}};

#define LEEWAY_CHOICE_FLAG(Type, choices)                                       \
  bool AbslParseFlag(absl::string_view text, Type* value, std::string* error) { \
    return ParseChoice(text, choices, value, error);                            \
  }                                                                             \
  std::string AbslUnparseFlag(Type value) { return ChoiceName(value, choices); }

LEEWAY_CHOICE_FLAG(Aggregation, kAggregations)
LEEWAY_CHOICE_FLAG(PushAtomicity, kAtomicities)
LEEWAY_CHOICE_FLAG(OptimizerConfig::Kind, kOptimizers)
LEEWAY_CHOICE_FLAG(ScheduleConfig::Kind, kSchedules)

#undef LEEWAY_CHOICE_FLAG

}  // namespace leeway::v1

// Consistency.
ABSL_FLAG(int64_t, staleness_bound, 8,
          "clocks a worker may be ahead of the slowest; 0: none (synchronous), -1: never wait");
ABSL_FLAG(
    leeway::v1::Aggregation, aggregation, leeway::v1::EACH,
    "each: every push is an optimizer step; round: the mean of a round's pushes is one (needs --staleness_bound=0)");
ABSL_FLAG(leeway::v1::PushAtomicity, push_atomicity, leeway::v1::STREAM,
          "stream: chunks leave while backward runs; whole: after the whole gradient was checked");
ABSL_FLAG(uint32_t, round_quorum, 0, "a round closes after so many pushes; later ones are dropped; 0: all workers");
ABSL_FLAG(std::string, max_delay, "-1",
          "a push whose delay is at least this is refused; -1: none is; sqrt: the root of the pushes accepted so far");
ABSL_FLAG(
    std::string, delay_policy, "apply",
    "what is done to a late gradient g that is accepted. apply: nothing; scale: rate / max(1, delay); dc: it becomes "
    "g + --dc_lambda * g * g * (w - w_b), value by value, w the weight now, w_b the one it was computed on");
ABSL_FLAG(double, dc_lambda, leeway::kDcLambda, "of --delay_policy=dc: above 0, at most 1e6");
ABSL_FLAG(uint32_t, quarantine_after, 10,
          "a worker is out for good after so many pushes in a row with a NaN or an infinity; 0: never");
// Optimizer.
ABSL_FLAG(leeway::v1::OptimizerConfig::Kind, optimizer, leeway::v1::OptimizerConfig::SGD,
          "sgd, momentum, adagrad, rmsprop, adam, adamw or ftrl");
ABSL_FLAG(double, learning_rate, 0.05, "the rate, before --schedule");
ABSL_FLAG(double, momentum, 0.9, "of momentum");
ABSL_FLAG(bool, nesterov, false, "Nesterov's momentum");
ABSL_FLAG(double, beta1, 0.9, "of adam and adamw");
ABSL_FLAG(double, beta2, 0.999, "of adam and adamw");
ABSL_FLAG(double, rho, 0.99, "of rmsprop");
ABSL_FLAG(double, epsilon, 1e-8, "of adagrad, rmsprop, adam and adamw");
ABSL_FLAG(double, l1, 0, "of ftrl: L1 penalty; a weight whose gradients sum up to no more stays exactly 0");
ABSL_FLAG(double, l2, 0, "of ftrl: L2 penalty, once for all steps");
ABSL_FLAG(double, beta, 1, "of ftrl: its rate is --learning_rate / (beta + the root of the sum of squared gradients)");
ABSL_FLAG(double, weight_decay, 0, "L2 penalty; decoupled in adamw");
ABSL_FLAG(leeway::NameValues, group_rate, {}, "rate factor of parameter groups, as bias:2");
ABSL_FLAG(leeway::NameValues, group_decay, (leeway::NameValues{{{"bias", 0.0}}}),
          "factor of --weight_decay, --l1 and --l2 of parameter groups, as bias:0");
ABSL_FLAG(double, clip_norm, 0,
          "clip each worker's gradient to this global norm (implies whole pushes); 0: no clipping");
// Schedule, over samples of the whole cluster.
ABSL_FLAG(leeway::v1::ScheduleConfig::Kind, schedule, leeway::v1::ScheduleConfig::CONSTANT, "constant, step or cosine");
ABSL_FLAG(uint64_t, warmup_samples, 0, "the rate grows from 0 over so many samples");
ABSL_FLAG(uint64_t, schedule_step_samples, 0, "of step: samples between two cuts");
ABSL_FLAG(double, schedule_gamma, 0.1, "of step: what a cut multiplies the rate with");
ABSL_FLAG(uint64_t, schedule_total_samples, 0, "of cosine: where --final_learning_rate is reached");
ABSL_FLAG(double, final_learning_rate, 0, "of cosine");
// Data.
ABSL_FLAG(
    std::string, data_sharing, "",
    "static: each worker keeps its own part; leased: ranges from the coordinator (the default; static in rounds)");
ABSL_FLAG(uint64_t, lease_records, 2048, "records that a data lease holds at most; 0: as many as the worker asks for");
// Start and end.
ABSL_FLAG(uint64_t, seed, 1, "of initial weights and of the order of the data");
ABSL_FLAG(uint32_t, num_workers, 1, "workers that the start waits for; all of them in rounds and with static data");
ABSL_FLAG(uint64_t, epochs, 0, "end after so many passes over the data; 0: no limit");
ABSL_FLAG(uint64_t, steps, 0, "end after so many applied pushes (each) or rounds; 0: no limit");
ABSL_FLAG(double, minutes, 0, "end after so many minutes of training; 0: no limit");
ABSL_FLAG(
    std::string, target_metric, "",
    "end when the evaluator reports accuracy:V (or more) or loss:V (or less); without :V --patience alone decides");
ABSL_FLAG(uint32_t, patience, 0, "end after so many evaluations without a better --target_metric; 0: never");

namespace leeway {
namespace {

absl::Status FillStop(v1::StopConfig* stop) {
  stop->set_epochs(absl::GetFlag(FLAGS_epochs));
  stop->set_steps(absl::GetFlag(FLAGS_steps));
  stop->set_minutes(absl::GetFlag(FLAGS_minutes));
  stop->set_patience(absl::GetFlag(FLAGS_patience));
  if (!(stop->minutes() >= 0) || std::isinf(stop->minutes())) {
    return FlagError("minutes", absl::StrCat(stop->minutes()), "0 and above");
  }
  const std::string target = absl::GetFlag(FLAGS_target_metric);
  if (target.empty()) {
    if (stop->patience() > 0) return FlagError("patience", absl::StrCat(stop->patience()), "0 without --target_metric");
    return absl::OkStatus();
  }
  const std::vector<std::string> parts = absl::StrSplit(target, absl::MaxSplits(':', 1));
  double value = -1;
  const bool named = parts[0] == "accuracy" || parts[0] == "loss";
  const bool valued = parts.size() < 2 || (absl::SimpleAtod(parts[1], &value) && std::isfinite(value) && value >= 0);
  if (!named || !valued) return FlagError("target_metric", target, "accuracy[:V] or loss[:V], V 0 or above");
  if (parts.size() < 2 && stop->patience() == 0) {
    return FlagError("target_metric", target, "with a value, or with --patience");
  }
  stop->set_target_metric(parts[0]);
  stop->set_target_value(value);
  return absl::OkStatus();
}

// Only ftrl's policy holds these, so that other runs have the policy that they had before there was ftrl.
void FillFtrl(v1::OptimizerConfig* optimizer) {
  if (optimizer->kind() != v1::OptimizerConfig::FTRL) return;
  optimizer->set_l1(absl::GetFlag(FLAGS_l1));
  optimizer->set_l2(absl::GetFlag(FLAGS_l2));
  optimizer->set_beta(absl::GetFlag(FLAGS_beta));
}

// Only dc's policy holds a lambda.
absl::Status FillDelayPolicy(v1::Policy* policy) {
  const std::string name = absl::GetFlag(FLAGS_delay_policy);
  const double lambda = absl::GetFlag(FLAGS_dc_lambda);
  if (!SetDelayPolicy(name, policy)) return FlagError("delay_policy", name, kDelayPolicyAllowed);
  if (!CorrectsDelay(*policy)) return absl::OkStatus();
  if (!(lambda > 0)) return FlagError("dc_lambda", absl::StrCat(lambda), kDcLambdaAllowed);
  policy->set_dc_lambda(lambda);
  return absl::OkStatus();
}

absl::Status FillGroups(v1::Policy* policy) {
  const auto group = [policy](const std::string& name) -> v1::GroupConfig& {
    for (v1::GroupConfig& known : *policy->mutable_groups()) {
      if (known.group() == name) return known;
    }
    v1::GroupConfig& added = *policy->add_groups();
    added.set_group(name);
    added.set_rate_factor(1);
    added.set_weight_decay_factor(1);
    return added;
  };
  for (const auto& [name, factor] : absl::GetFlag(FLAGS_group_rate).items) {
    if (factor < 0) return FlagError("group_rate", absl::StrCat(name, ":", factor), "factors of 0 and above");
    group(name).set_rate_factor(factor);
  }
  for (const auto& [name, factor] : absl::GetFlag(FLAGS_group_decay).items) {
    if (factor < 0) return FlagError("group_decay", absl::StrCat(name, ":", factor), "factors of 0 and above");
    group(name).set_weight_decay_factor(factor);
  }
  return absl::OkStatus();
}

absl::Status FillDataSharing(v1::Policy* policy) {
  const bool round = policy->aggregation() == v1::ROUND;
  const std::string sharing = absl::GetFlag(FLAGS_data_sharing);
  if (sharing != "" && sharing != "static" && sharing != "leased") {
    return FlagError("data_sharing", sharing, "static, leased");
  }
  policy->set_data_sharing(sharing == "static" || (sharing.empty() && round) ? v1::STATIC : v1::LEASED);
  return absl::OkStatus();
}

// What nothing in this policy reads would have no effect, and nobody would say so.
absl::Status CheckRead(const v1::Policy& policy) {
  using Optimizer = v1::OptimizerConfig;
  const Optimizer::Kind optimizer = policy.optimizer().kind();
  const v1::ScheduleConfig::Kind schedule = policy.schedule().kind();
  const bool momentum = optimizer == Optimizer::MOMENTUM;
  const bool ftrl = optimizer == Optimizer::FTRL;
  const bool adam = optimizer == Optimizer::ADAM || optimizer == Optimizer::ADAMW;
  const bool rmsprop = optimizer == Optimizer::RMSPROP;
  const bool step = schedule == v1::ScheduleConfig::STEP;
  const bool cosine = schedule == v1::ScheduleConfig::COSINE;
  const struct {
    const char* flag;
    bool read;
    const char* reader;
  } flags[] = {
      {"nesterov", momentum, "--optimizer=momentum"},
      {"beta1", adam, "--optimizer=adam or adamw"},
      {"beta2", adam, "--optimizer=adam or adamw"},
      {"rho", rmsprop, "--optimizer=rmsprop"},
      {"epsilon", adam || rmsprop || optimizer == Optimizer::ADAGRAD, "--optimizer=adagrad, rmsprop, adam or adamw"},
      {"l1", ftrl, "--optimizer=ftrl"},
      {"l2", ftrl, "--optimizer=ftrl"},
      {"beta", ftrl, "--optimizer=ftrl"},
      {"schedule_step_samples", step, "--schedule=step"},
      {"schedule_gamma", step, "--schedule=step"},
      {"schedule_total_samples", cosine, "--schedule=cosine"},
      {"final_learning_rate", cosine, "--schedule=cosine"},
      {"dc_lambda", CorrectsDelay(policy), "--delay_policy=dc"},
      {"lease_records", policy.data_sharing() == v1::LEASED, "--data_sharing=leased"},
  };
  for (const auto& [flag, read, reader] : flags) {
    if (!read) RETURN_IF_ERROR(CheckUnread(flag, reader));
  }
  // Its default too: elsewhere momentum is sgd's.
  if (!momentum && FlagGiven("momentum")) {
    return FlagError("momentum", absl::StrCat(absl::GetFlag(FLAGS_momentum)), "only with --optimizer=momentum");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Policy> PolicyFromFlags() {
  v1::Policy policy;
  policy.set_number(1);
  policy.set_aggregation(absl::GetFlag(FLAGS_aggregation));
  // A round is synchronous: its bound is 0 unless another one was asked for, which is refused below.
  const bool round = policy.aggregation() == v1::ROUND;
  policy.set_staleness_bound(round && !FlagGiven("staleness_bound") ? 0 : absl::GetFlag(FLAGS_staleness_bound));
  policy.set_push_atomicity(absl::GetFlag(FLAGS_push_atomicity));
  policy.set_round_quorum(absl::GetFlag(FLAGS_round_quorum));
  if (const std::string max_delay = absl::GetFlag(FLAGS_max_delay); !SetMaxDelay(max_delay, &policy)) {
    return FlagError("max_delay", max_delay, kMaxDelayAllowed);
  }
  RETURN_IF_ERROR(FillDelayPolicy(&policy));
  RETURN_IF_ERROR(FillDataSharing(&policy));
  v1::OptimizerConfig& optimizer = *policy.mutable_optimizer();
  optimizer.set_kind(absl::GetFlag(FLAGS_optimizer));
  optimizer.set_momentum(absl::GetFlag(FLAGS_momentum));
  optimizer.set_nesterov(absl::GetFlag(FLAGS_nesterov));
  optimizer.set_beta1(absl::GetFlag(FLAGS_beta1));
  optimizer.set_beta2(absl::GetFlag(FLAGS_beta2));
  optimizer.set_rho(absl::GetFlag(FLAGS_rho));
  optimizer.set_epsilon(absl::GetFlag(FLAGS_epsilon));
  optimizer.set_weight_decay(absl::GetFlag(FLAGS_weight_decay));
  FillFtrl(&optimizer);
  RETURN_IF_ERROR(FillGroups(&policy));
  v1::ScheduleConfig& schedule = *policy.mutable_schedule();
  schedule.set_kind(absl::GetFlag(FLAGS_schedule));
  schedule.set_rate(absl::GetFlag(FLAGS_learning_rate));
  schedule.set_warmup_samples(absl::GetFlag(FLAGS_warmup_samples));
  schedule.set_step_samples(absl::GetFlag(FLAGS_schedule_step_samples));
  schedule.set_gamma(absl::GetFlag(FLAGS_schedule_gamma));
  schedule.set_total_samples(absl::GetFlag(FLAGS_schedule_total_samples));
  schedule.set_final_rate(absl::GetFlag(FLAGS_final_learning_rate));
  policy.set_clip_norm(absl::GetFlag(FLAGS_clip_norm));
  if (policy.clip_norm() > 0) {
    // The norm is known only when the whole gradient is.
    if (FlagGiven("push_atomicity") && policy.push_atomicity() == v1::STREAM) {
      return FlagError("push_atomicity", "stream", "whole with --clip_norm");
    }
    policy.set_push_atomicity(v1::WHOLE);
  }
  RETURN_IF_ERROR(FillStop(policy.mutable_stop()));
  policy.set_seed(absl::GetFlag(FLAGS_seed));
  policy.set_num_workers(absl::GetFlag(FLAGS_num_workers));
  policy.set_lease_records(absl::GetFlag(FLAGS_lease_records));
  policy.set_quarantine_after(absl::GetFlag(FLAGS_quarantine_after));
  RETURN_IF_ERROR(CheckPolicy(policy));
  RETURN_IF_ERROR(CheckRead(policy));
  return policy;
}

}  // namespace leeway
