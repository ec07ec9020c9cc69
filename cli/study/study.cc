#include "cli/study/study.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "cli/output_flag.h"
#include "cli/study/study_report.h"
#include "common/flags.h"
#include "common/machine.h"
#include "common/status_macros.h"
#include "kernels/device.h"
#include "kernels/optimizers/make_optimizer.h"
#include "server/policy_flags.h"
#include "worker/data_for_model.h"
#include "worker/worker_flags.h"

ABSL_FLAG(uint32_t, workers, 8, "leeway study: workers, 1 to 20,000");
ABSL_FLAG(
    std::string, stragglers, "jitter",
    "leeway study: how workers differ: none, or a list of jitter[:DEVIATION] (of every step's time: 0.1; 0.02 if "
    "it is not in the list), transient[:FRACTION:FACTOR] (of the steps: 0.05:5), persistent[:FRACTION:FACTOR] (of "
    "the workers: 0.125:4), deaths[:LIFE:AWAY] (in the mean after so many steps' time, then away: 500:50), mixed "
    "(jitter,transient,persistent)");
ABSL_FLAG(
    std::string, policies, "",
    "leeway study: what is compared, as round, round:K (a quorum), or with + between them bound:S (a staleness "
    "bound, -1: none), max_delay:R (or sqrt), scale, dc, dc:LAMBDA; +rate:V gives one a --learning_rate of its own, as "
    "round+rate:0.4; "
    "default: all of them, in the usual sizes");
ABSL_FLAG(uint64_t, pushes, 0,
          "leeway study: applied pushes per policy, up to 10 million; 0: 100 per worker, at least 20,000");
ABSL_FLAG(absl::Duration, step_time, absl::Seconds(1),
          "leeway study: how long an undisturbed step computes, 1ms to 1h");
ABSL_FLAG(absl::Duration, message_time, absl::ZeroDuration(),
          "leeway study: how long each of a push, its verdict, a pull and its weights takes, 0s to 1h");
ABSL_FLAG(absl::Duration, lease, absl::Seconds(10),
          "leeway study: a worker that has died is waited for for so long (the --lease of ps), 10ms to 24h");
ABSL_FLAG(std::string, target, "",
          "leeway study: accuracy:V or loss:V on the test split; the time to it is shown. Needs --model");
ABSL_FLAG(uint32_t, evaluations, 40, "leeway study: how often the test split is evaluated, 1 to 10,000");

namespace leeway {

namespace {

constexpr std::uint32_t kMostWorkers = 20'000;
constexpr std::uint64_t kMostPushes = 10'000'000;
constexpr std::uint64_t kUsualPushes = 20'000;
constexpr char kUsualData[] = "synthetic:20000";

// What is trained, the same for all policies.
struct Training {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Dataset> train, test;
};

absl::StatusOr<double> SecondsFlag(const char* name, absl::Duration value, absl::Duration low, absl::Duration high) {
  if (value >= low && value <= high) return absl::ToDoubleSeconds(value);
  return FlagError(name, absl::FormatDuration(value),
                   absl::StrCat(absl::FormatDuration(low), " to ", absl::FormatDuration(high)));
}

// The flag's name before a message that says what is allowed.
absl::Status OfFlag(const char* name, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat("--", name, "=", status.message()));
}

absl::StatusOr<std::optional<StudyTarget>> TargetFlag(bool trains) {
  const std::string text = absl::GetFlag(FLAGS_target);
  if (text.empty()) return std::nullopt;
  if (!trains) return FlagError("target", text, "nothing without --model");
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  StudyTarget target;
  target.accuracy = parts[0] == "accuracy";
  const bool good = parts.size() == 2 && (target.accuracy || parts[0] == "loss") &&
                    absl::SimpleAtod(parts[1], &target.value) && target.value > 0 &&
                    target.value <= (target.accuracy ? 1 : 1e6);
  if (!good) return FlagError("target", text, "accuracy:V with V above 0, up to 1, or loss:V with V above 0");
  return target;
}

absl::StatusOr<StudySetting> SettingFromFlags(const v1::Policy& base, const WorkerOptions& worker, bool trains) {
  StudySetting setting;
  setting.workers = absl::GetFlag(FLAGS_workers);
  if (setting.workers < 1 || setting.workers > kMostWorkers) {
    return FlagError("workers", absl::StrCat(setting.workers), absl::StrCat("1 to ", kMostWorkers));
  }
  const absl::StatusOr<Stragglers> stragglers = ParseStragglers(absl::GetFlag(FLAGS_stragglers));
  if (!stragglers.ok()) return OfFlag("stragglers", stragglers.status());
  setting.stragglers = *stragglers;
  setting.pushes = absl::GetFlag(FLAGS_pushes);
  if (setting.pushes > kMostPushes) {
    return FlagError("pushes", absl::StrCat(setting.pushes), absl::StrCat("0 to ", kMostPushes));
  }
  if (setting.pushes == 0) setting.pushes = std::max(kUsualPushes, 100 * std::uint64_t{setting.workers});
  ASSIGN_OR_RETURN(setting.step_seconds,
                   SecondsFlag("step_time", absl::GetFlag(FLAGS_step_time), absl::Milliseconds(1), absl::Hours(1)));
  ASSIGN_OR_RETURN(setting.message_seconds, SecondsFlag("message_time", absl::GetFlag(FLAGS_message_time),
                                                        absl::ZeroDuration(), absl::Hours(1)));
  ASSIGN_OR_RETURN(setting.lease_seconds,
                   SecondsFlag("lease", absl::GetFlag(FLAGS_lease), absl::Milliseconds(10), absl::Hours(24)));
  setting.seed = base.seed();
  const std::uint32_t evaluations = absl::GetFlag(FLAGS_evaluations);
  if (evaluations < 1 || evaluations > 10'000) {
    return FlagError("evaluations", absl::StrCat(evaluations), "1 to 10000");
  }
  ASSIGN_OR_RETURN(setting.target, TargetFlag(trains));
  if (!trains) {
    for (const char* flag : {"data", "batch", "evaluations", "optimizer", "learning_rate", "schedule", "warmup_samples",
                             "weight_decay", "group_rate", "group_decay"}) {
      RETURN_IF_ERROR(CheckUnread(flag, "--model"));
    }
    return setting;
  }
  setting.model = worker.model;
  setting.data = worker.data.empty() ? kUsualData : worker.data;
  setting.batch = worker.batch;
  setting.optimizer = absl::FindCommandLineFlag("optimizer")->CurrentValue();
  setting.learning_rate = base.schedule().rate();
  return setting;
}

// Refuses what does not fit, before anything is loaded that takes long.
absl::Status CheckMemory(const StudySetting& setting, const v1::Policy& base, const Dataset& data, int depth) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, MakeModel(ModelSpecFor(setting.model, data)));
  ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer, MakeOptimizer(base.optimizer()));
  const std::uint64_t bytes =
      ModelLearner::MostBytes(model->manifest().elements(), optimizer->slots(), setting.workers, depth);
  const std::uint64_t limit = TotalMemoryBytes() / 2;
  if (bytes <= limit) return absl::OkStatus();
  return FlagError("model", setting.model,
                   absl::StrCat("models that ", setting.workers, " workers can read within ", FormatBytes(limit),
                                ", half of this machine's memory; of this one they may hold ", FormatBytes(bytes)));
}

absl::StatusOr<Training> PrepareTraining(const StudySetting& setting, const v1::Policy& base, int depth) {
  Training training;
  RETURN_IF_ERROR(CheckModelTakes(setting.model, setting.data));
  ASSIGN_OR_RETURN(Dataset train, LoadDataFor(setting.model, setting.data, Split::kTrain));
  if (train.has_tokens()) return FlagError("model", setting.model, "softmax, mlp, mlp:HIDDEN[,HIDDEN...] or cnn");
  ASSIGN_OR_RETURN(Dataset test, LoadDataFor(setting.model, setting.data, Split::kTest));
  if (train.num_records() < setting.workers) {
    return FlagError("workers", absl::StrCat(setting.workers),
                     absl::StrCat("up to the ", train.num_records(), " records of --data=", setting.data));
  }
  RETURN_IF_ERROR(CheckMemory(setting, base, train, depth));
  training.train = std::make_unique<Dataset>(std::move(train));
  training.test = std::make_unique<Dataset>(std::move(test));
  // One thread: sums of several come out in another order, and the seed would not repeat the run.
  ASSIGN_OR_RETURN(training.backend, MakeBackend("cpu", 1));
  return training;
}

absl::StatusOr<StudyRow> SimulatePolicy(const StudySetting& setting, const StudyPolicy& policy, int depth,
                                        const Training& training) {
  const WorkerSpeeds speeds(setting.stragglers, setting.workers, setting.step_seconds, setting.seed);
  const bool together = policy.policy.aggregation() == v1::ROUND || policy.policy.staleness_bound() == 0;
  StudyRow row;
  row.policy = policy;
  row.depth = together ? 0 : depth;
  SimOptions options;
  options.workers = setting.workers;
  options.policy = policy.policy;
  options.depth = row.depth;
  options.pushes = setting.pushes;
  options.step_seconds = [&speeds](std::uint32_t rank, std::uint64_t step) { return speeds.StepSeconds(rank, step); };
  options.message_seconds = setting.message_seconds;
  if (setting.stragglers.life > 0) {
    options.life_seconds = [&speeds](std::uint32_t rank, std::uint64_t life) { return speeds.LifeSeconds(rank, life); };
  }
  options.away_seconds = setting.stragglers.away * setting.step_seconds;
  options.lease_seconds = setting.lease_seconds;
  std::unique_ptr<ModelLearner> learner;
  if (training.backend != nullptr) {
    ModelLearner::Options learning;
    learning.policy = policy.policy;
    learning.model = setting.model;
    learning.train = training.train.get();
    learning.test = training.test.get();
    learning.workers = setting.workers;
    learning.batch = setting.batch;
    learning.pushes = setting.pushes;
    learning.evaluations = absl::GetFlag(FLAGS_evaluations);
    ASSIGN_OR_RETURN(learner, ModelLearner::Make(*training.backend, learning));
    options.learner = learner.get();
  }
  row.result = Simulate(options);
  if (learner != nullptr) {
    RETURN_IF_ERROR(learner->status());
    row.evaluations = learner->evaluations();
    row.nonfinite = learner->nonfinite();
  }
  return row;
}

absl::Status Study(const std::vector<std::string>& words) {
  if (!words.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("leeway study takes flags only, not \"", words[0], "\""));
  }
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  const bool trains = FlagGiven("model") && absl::GetFlag(FLAGS_model) != "none";
  if (!trains) absl::SetFlag(&FLAGS_model, "softmax");  // checked with the others, and not used
  ASSIGN_OR_RETURN(const WorkerOptions worker, WorkerOptionsFromFlags(/*need_coordinator=*/false));
  ASSIGN_OR_RETURN(const v1::Policy base, PolicyFromFlags());
  ASSIGN_OR_RETURN(StudySetting setting, SettingFromFlags(base, worker, trains));
  setting.slow_workers =
      WorkerSpeeds(setting.stragglers, setting.workers, setting.step_seconds, setting.seed).slow_workers();
  const absl::StatusOr<std::vector<StudyPolicy>> policies =
      ParseStudyPolicies(absl::GetFlag(FLAGS_policies), setting.workers, base);
  if (!policies.ok()) return OfFlag("policies", policies.status());
  const int depth = FlagGiven("pipeline_depth") ? worker.pipeline_depth : 0;
  Training training;
  if (trains) {
    ASSIGN_OR_RETURN(training, PrepareTraining(setting, base, depth));
  }
  std::vector<StudyRow> rows;
  for (const StudyPolicy& policy : *policies) {
    // Training takes a while.
    if (trains) std::fprintf(stderr, "%zu of %zu: %s\n", rows.size() + 1, policies->size(), policy.name.c_str());
    ASSIGN_OR_RETURN(StudyRow row, SimulatePolicy(setting, policy, depth, training));
    rows.push_back(std::move(row));
  }
  std::fputs((json ? StudyJson(setting, rows) : StudyTable(setting, rows)).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

int RunStudy(const std::vector<std::string>& words, int, char**) {
  const absl::Status status = Study(words);
  if (!status.ok()) ExitWithError(status);
  return 0;
}

}  // namespace leeway
