#include "cli/run_options.h"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/run_directory.h"
#include "common/flags.h"
#include "common/http_flags.h"
#include "common/security_flags.h"
#include "common/status_macros.h"
#include "server/policy_flags.h"
#include "worker/data/load.h"
#include "worker/data_for_model.h"
#include "worker/worker_flags.h"

ABSL_FLAG(int, num_ps, 1, "leeway run: parameter servers, 1 to 64");
ABSL_FLAG(bool, eval, true, "leeway run: start an evaluator beside the workers");
ABSL_FLAG(bool, restart_ps, false,
          "leeway run: start a ps again when it dies or is told to end; only with a --checkpoint_dir in --ps_flags");
ABSL_FLAG(bool, restart_workers, false, "leeway run: start a worker again when it dies");
ABSL_FLAG(std::string, out, "",
          "leeway run: directory for logs, report and weights: new or empty, or that of a run that was interrupted; "
          "default runs/<date>-<time>");
ABSL_FLAG(std::string, summary_json, "", "leeway run: also write summary.json to this file");
ABSL_FLAG(absl::Duration, display_every, absl::Seconds(5), "leeway run: time between lines when stdout is no terminal");
ABSL_FLAG(absl::Duration, stop_grace, absl::Seconds(10),
          "leeway run: how long processes may take to end after SIGTERM before they are killed");
ABSL_FLAG(leeway::NameValues, straggle, {},
          "leeway run: worker:factor,... makes the steps of these workers (0, 1, ...) take factor times as long");
ABSL_FLAG(std::string, worker_flags, "",
          "leeway run: worker flags of single workers, as in \"1:--batch=32 --threads=2;eval:--threads=2\"");
ABSL_FLAG(std::string, ps_flags, "",
          "leeway run: further flags of every ps, which checks them itself, as in \"--lease=2s --threads=1\"");
ABSL_FLAG(std::string, ps_binary, "", "the ps program; default: ps beside leeway, or ../server/ps");
ABSL_FLAG(std::string, worker_binary, "", "the worker program; default: worker beside leeway, or ../worker/worker");

namespace leeway {
namespace {

constexpr int kMaxPs = 64;
constexpr std::uint32_t kMaxWorkers = 256;
constexpr absl::Duration kLeastLinger = absl::Seconds(1);
constexpr char kPsFolder[] = "server/";
constexpr char kWorkerFolder[] = "worker/";
// Of leeway run they are ps 0's; a worker's are among its special ones.
constexpr char kHttpFlags[] = "common/http_flags.cc";
// The worker's own flag for what is --straggle here.
constexpr char kStraggleFactor[] = "straggle_factor";

// What leeway run gives every process itself: a value from outside would break the cluster.
const std::set<std::string>& OwnedFlags() {
  static const auto* owned = new std::set<std::string>{
      "coordinator", "http_port_file", "listen", "name", "num_shards", "port_file", "rank", "shard_index", "role"};
  return *owned;
}

bool IsFrom(const absl::CommandLineFlag& flag, const std::string& folder) {
  return absl::StartsWith(flag.Filename(), folder);
}

// `name` is looked for beside this program, as it is installed, and in ../FOLDER, as it is built.
absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& folder, const std::string& given) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<std::string> places = {self / name, (self / ".." / folder / name).lexically_normal()};
  if (!given.empty()) places = {given};
  for (const std::string& place : places) {
    if (fs::is_regular_file(place, error) && access(place.c_str(), X_OK) == 0) return place;
  }
  return absl::NotFoundError(
      absl::StrCat("no program at ", absl::StrJoin(places, " or "), "; --", name, "_binary=FILE says where it is"));
}

// What the coordinator would refuse when the workers join.
absl::Status CheckEncodings(const v1::Policy& policy, const WorkerOptions& worker) {
  if (policy.aggregation() == v1::ROUND && worker.pull_encoding == v1::INT8) {
    return FlagError("pull_encoding", "delta", "f32 or bf16 with --aggregation=round");
  }
  const v1::OptimizerConfig::Kind kind = policy.optimizer().kind();
  const bool momentum = (kind == v1::OptimizerConfig::MOMENTUM && policy.optimizer().momentum() > 0) ||
                        kind == v1::OptimizerConfig::ADAM || kind == v1::OptimizerConfig::ADAMW;
  if (momentum && worker.push_encoding.momentum > 0) {
    return FlagError("momentum_correction", absl::StrCat(worker.push_encoding.momentum),
                     "0 with an optimizer that has momentum of its own (momentum, adam, adamw)");
  }
  return absl::OkStatus();
}

// One word of --worker_flags: "--flag=value", with a value that the flag takes.
absl::Status CheckWorkerFlag(const std::string& word, const std::string& folder) {
  const std::size_t equals = word.find('=');
  if (!absl::StartsWith(word, "--") || equals == std::string::npos) {
    return FlagError("worker_flags", word, "words like --flag=value");
  }
  const std::string name = word.substr(2, equals - 2);
  absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  if (flag == nullptr || RunSetsItself(name) || !(IsFrom(*flag, folder) || IsFrom(*flag, kHttpFlags))) {
    return FlagError("worker_flags", word, "flags of the worker that leeway run does not set itself");
  }
  return CheckFlagValue(name, word.substr(equals + 1));
}

// Whether the files that a worker's flags name can be read and written.
absl::Status CheckInputs(const WorkerOptions& worker, bool evaluator) {
  RETURN_IF_ERROR(CheckModelTakes(worker.model, worker.data));
  RETURN_IF_ERROR(CheckDataset(worker.data, evaluator ? Split::kTest : Split::kTrain));
  return CheckFiles(worker, evaluator);
}

// What only an evaluator would read.
absl::Status CheckNoEvaluator(const RunOptions& options) {
  for (const char* flag :
       {"target_metric", "eval_every_epochs", "eval_every_seconds", "best_weights", "final_weights"}) {
    RETURN_IF_ERROR(CheckUnread(flag, "an evaluator (--eval=true)"));
  }
  if (options.special_flags.count(kEvaluatorName) == 0) return absl::OkStatus();
  return FlagError("worker_flags", absl::GetFlag(FLAGS_worker_flags), "flags of eval only with --eval=true");
}

// Without an evaluation before the end no target is ever reached.
absl::Status CheckEvaluations(const v1::Policy& policy, const WorkerOptions& worker) {
  const bool any = worker.eval_every_epochs > 0 || worker.eval_every_seconds > absl::ZeroDuration();
  if (any || policy.stop().target_metric().empty()) return absl::OkStatus();
  return FlagError("eval_every_epochs", "0", "above 0 with --target_metric, or --eval_every_seconds above 0");
}

// The flags of the process `name` as it will see them: with its special ones.
absl::Status CheckSpecialFlags(const std::string& name, const std::vector<std::string>& words) {
  // Not SetFlags, which would note them as given to every worker; nor absl::FlagSaver, which says on stderr what it
  // restores. That each flag takes its value has been checked.
  std::vector<std::pair<absl::CommandLineFlag*, std::string>> saved;
  std::string error;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(word.substr(2, equals - 2));
    saved.emplace_back(flag, flag->CurrentValue());
    flag->ParseFrom(word.substr(equals + 1), &error);
  }
  const absl::StatusOr<WorkerOptions> read = WorkerOptionsFromFlags(/*need_coordinator=*/false);
  for (auto it = saved.rbegin(); it != saved.rend(); ++it) it->first->ParseFrom(it->second, &error);
  ASSIGN_OR_RETURN(const WorkerOptions worker, read);
  return CheckInputs(worker, name == kEvaluatorName);
}

}  // namespace

std::string PsName(int index) { return absl::StrCat("ps-", index); }
std::string WorkerName(int index) { return absl::StrCat("worker-", index); }

std::string PortFile(const RunOptions& options, int index) {
  return absl::StrCat(options.directory, "/", PsName(index), ".port");
}

std::string HttpPortFile(const RunOptions& options) { return absl::StrCat(options.directory, "/", PsName(0), ".http"); }

bool RunSetsItself(const std::string& flag) { return OwnedFlags().count(flag) > 0; }

std::vector<std::string> GivenFlagsOf(const std::string& folder) {
  std::map<std::string, std::string> given;  // sorted: the same command line every time
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (IsFrom(*flag, folder) && FlagGiven(name)) given[std::string(name)] = flag->CurrentValue();
  }
  std::vector<std::string> words;
  for (const auto& [name, value] : given) words.push_back(absl::StrCat("--", name, "=", value));
  return words;
}

absl::StatusOr<std::map<std::string, std::vector<std::string>>> ParseSpecialFlags(const std::string& text,
                                                                                  int num_workers,
                                                                                  const std::string& folder) {
  std::map<std::string, std::vector<std::string>> special;
  for (absl::string_view part : absl::StrSplit(text, ';', absl::SkipWhitespace())) {
    const std::pair<std::string, std::string> fields = absl::StrSplit(part, absl::MaxSplits(':', 1));
    const std::string who(absl::StripAsciiWhitespace(fields.first));
    int index = -1;
    std::string name = kEvaluatorName;
    if (who != kEvaluatorName) {
      if (!absl::SimpleAtoi(who, &index) || index < 0 || index >= num_workers) {
        return FlagError("worker_flags", std::string(part),
                         absl::StrCat("parts like 1:--flag=value, with a worker from 0 to ", num_workers - 1,
                                      " or eval before the colon"));
      }
      name = WorkerName(index);
    }
    const std::vector<std::string> words = absl::StrSplit(fields.second, ' ', absl::SkipWhitespace());
    for (const std::string& word : words) {
      RETURN_IF_ERROR(CheckWorkerFlag(word, folder));
      special[name].push_back(word);
    }
  }
  return special;
}

absl::StatusOr<RunOptions> RunOptionsFromFlags() {
  RunOptions options;
  options.num_ps = absl::GetFlag(FLAGS_num_ps);
  if (options.num_ps < 1 || options.num_ps > kMaxPs) {
    return FlagError("num_ps", absl::StrCat(options.num_ps), absl::StrCat("1 to ", kMaxPs));
  }
  ASSIGN_OR_RETURN(const v1::Policy policy, PolicyFromFlags());
  if (policy.num_workers() > kMaxWorkers) {
    return FlagError("num_workers", absl::StrCat(policy.num_workers()), absl::StrCat("1 to ", kMaxWorkers));
  }
  options.num_workers = static_cast<int>(policy.num_workers());
  for (const std::string& name : OwnedFlags()) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    if (flag != nullptr && FlagGiven(name)) {
      return FlagError(name, flag->CurrentValue(), "nothing: leeway run sets this flag itself");
    }
  }
  options.display_every = absl::GetFlag(FLAGS_display_every);
  if (options.display_every < absl::Milliseconds(100)) {
    return FlagError("display_every", absl::FormatDuration(options.display_every), "100ms and above");
  }
  options.stop_grace = absl::GetFlag(FLAGS_stop_grace);
  if (options.stop_grace < absl::ZeroDuration() || options.stop_grace > absl::Hours(1)) {
    return FlagError("stop_grace", absl::FormatDuration(options.stop_grace), "0s to 1h");
  }
  options.eval = absl::GetFlag(FLAGS_eval);
  options.restart_workers = absl::GetFlag(FLAGS_restart_workers);
  options.restart_ps = absl::GetFlag(FLAGS_restart_ps);
  options.http_port = absl::GetFlag(FLAGS_http_port);
  if (options.http_port < -1 || options.http_port > 65535) {
    return FlagError("http_port", absl::StrCat(options.http_port), "-1 (none) to 65535");
  }
  options.directory = absl::GetFlag(FLAGS_out);
  options.summary_json = absl::GetFlag(FLAGS_summary_json);
  options.ps_flags = GivenFlagsOf(kPsFolder);
  options.worker_flags = GivenFlagsOf(kWorkerFolder);
  ASSIGN_OR_RETURN(const WorkerOptions worker, WorkerOptionsFromFlags(/*need_coordinator=*/false));
  options.tensorboard_dir = worker.tensorboard_dir;
  if (worker.data.empty())
    return FlagError(
        "data", "",
        "a directory, idx:DIR, csv:TRAIN[,TEST], libsvm:TRAIN[,TEST], tokens:FILE[,TEST] or synthetic:RECORDS");
  if (policy.staleness_bound() == 0) {
    // Every push must be there before the next pull: nothing can be in flight.
    if (FlagGiven("pipeline_depth") && worker.pipeline_depth != 0) {
      return FlagError("pipeline_depth", absl::StrCat(worker.pipeline_depth), "0 with a staleness bound of 0");
    }
    if (!FlagGiven("pipeline_depth")) options.worker_flags.push_back("--pipeline_depth=0");
  }
  RETURN_IF_ERROR(CheckEncodings(policy, worker));
  for (const absl::string_view word : absl::StrSplit(absl::GetFlag(FLAGS_ps_flags), ' ', absl::SkipWhitespace())) {
    const std::string name(absl::StripPrefix(word.substr(0, word.find('=')), "--"));
    if (!absl::StartsWith(word, "--") || RunSetsItself(name)) {
      return FlagError("ps_flags", word, "words like --flag=value, not what leeway run sets itself");
    }
    // Those of the policy: it goes by them itself, as by how many workers there are.
    const absl::CommandLineFlag* known = absl::FindCommandLineFlag(name);
    if (known != nullptr && IsFrom(*known, kPsFolder)) {
      return FlagError("ps_flags", word,
                       absl::StrCat("flags that leeway run does not have; --", name, " is one of its own"));
    }
    absl::Duration linger;
    if (name == "linger" && absl::ParseDuration(word.substr(word.find('=') + 1), &linger) && linger < kLeastLinger) {
      return FlagError("ps_flags", word,
                       "a linger of 1s and above: else leeway run does not hear how the run has ended");
    }
    options.ps_flags.emplace_back(word);
  }
  if (options.restart_ps && CheckpointDirIn(options.ps_flags).empty()) {
    return FlagError(
        "restart_ps", "true",
        "with a --checkpoint_dir in --ps_flags: without one a ps that dies has lost its weights, and nobody "
        "can go on");
  }
  ASSIGN_OR_RETURN(options.security, SecurityFromFlags());
  for (const std::string& word : GivenSecurityFlags()) {
    options.ps_flags.push_back(word);
    options.worker_flags.push_back(word);
  }
  for (const char* name : {"log_level", "log_format"}) {
    if (!FlagGiven(name)) continue;
    const std::string word = absl::StrCat("--", name, "=", absl::FindCommandLineFlag(name)->CurrentValue());
    options.ps_flags.push_back(word);
    options.worker_flags.push_back(word);
  }
  ASSIGN_OR_RETURN(options.special_flags,
                   ParseSpecialFlags(absl::GetFlag(FLAGS_worker_flags), options.num_workers, kWorkerFolder));
  const NameValues straggle = absl::GetFlag(FLAGS_straggle);
  for (const auto& [who, factor] : straggle.items) {
    int index = -1;
    if (!absl::SimpleAtoi(who, &index) || index < 0 || index >= options.num_workers || factor < 1) {
      return FlagError("straggle", AbslUnparseFlag(straggle),
                       absl::StrCat("worker:factor with a worker from 0 to ", options.num_workers - 1,
                                    " and a factor of at least 1"));
    }
    options.special_flags[WorkerName(index)].push_back(absl::StrCat("--", kStraggleFactor, "=", factor));
  }
  RETURN_IF_ERROR(CheckInputs(worker, /*evaluator=*/false));
  RETURN_IF_ERROR(options.eval ? CheckInputs(worker, /*evaluator=*/true) : CheckNoEvaluator(options));
  RETURN_IF_ERROR(CheckEvaluations(policy, worker));
  for (const auto& [name, words] : options.special_flags) RETURN_IF_ERROR(CheckSpecialFlags(name, words));
  ASSIGN_OR_RETURN(options.ps_binary, FindProgram("ps", "server", absl::GetFlag(FLAGS_ps_binary)));
  ASSIGN_OR_RETURN(options.worker_binary, FindProgram("worker", "worker", absl::GetFlag(FLAGS_worker_binary)));
  return options;
}

std::vector<std::string> PsCommand(const RunOptions& options, int index, const std::string& coordinator) {
  std::vector<std::string> command = {
      options.ps_binary, "--listen=127.0.0.1:0",  // the second word: LocalCluster says it anew when ps-0 is restarted
      absl::StrCat("--port_file=", PortFile(options, index)), absl::StrCat("--shard_index=", index),
      absl::StrCat("--num_shards=", options.num_ps)};
  if (index > 0) command.push_back(absl::StrCat("--coordinator=", coordinator));
  if (index == 0 && !options.tensorboard_dir.empty()) {
    command.push_back(absl::StrCat("--tensorboard_dir=", options.tensorboard_dir));
  }
  // Or a run of a moment would end before its evaluator has come.
  if (index == 0 && options.eval) command.push_back("--num_evaluators=1");
  if (index == 0 && options.http_port >= 0) {
    command.push_back(absl::StrCat("--http_port=", options.http_port));
    command.push_back(absl::StrCat("--http_address=", absl::GetFlag(FLAGS_http_address)));
    command.push_back(absl::StrCat("--http_port_file=", HttpPortFile(options)));
  }
  command.insert(command.end(), options.ps_flags.begin(), options.ps_flags.end());
  return command;
}

namespace {

std::vector<std::string> WorkerLike(const RunOptions& options, const std::string& name, const std::string& coordinator,
                                    const std::vector<std::string>& own) {
  std::vector<std::string> command = {options.worker_binary, absl::StrCat("--coordinator=", coordinator),
                                      absl::StrCat("--name=", name)};
  command.insert(command.end(), own.begin(), own.end());
  command.insert(command.end(), options.worker_flags.begin(), options.worker_flags.end());
  const auto special = options.special_flags.find(name);
  if (special != options.special_flags.end()) {
    command.insert(command.end(), special->second.begin(), special->second.end());
  }
  return command;
}

}  // namespace

std::vector<std::string> WorkerCommand(const RunOptions& options, int index, const std::string& coordinator) {
  return WorkerLike(options, WorkerName(index), coordinator, {"--role=train", absl::StrCat("--rank=", index)});
}

std::vector<std::string> EvaluatorCommand(const RunOptions& options, const std::string& coordinator) {
  return WorkerLike(options, kEvaluatorName, coordinator,
                    {"--role=eval", absl::StrCat("--best_weights=", options.directory, "/best.safetensors"),
                     absl::StrCat("--final_weights=", options.directory, "/final.safetensors")});
}

}  // namespace leeway
