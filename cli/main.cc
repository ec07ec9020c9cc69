// leeway: the one tool a person types. Each verb is a function in a file of its own; kVerbs lists them.
#include <grpc/grpc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/admin/admin_verbs.h"
#include "cli/bench/bench.h"
#include "cli/bench/peer.h"
#include "cli/checkpoint/checkpoint_verbs.h"
#include "cli/replay.h"
#include "cli/run.h"
#include "cli/run_options.h"
#include "cli/study/study.h"
#include "cli/tokenize.h"
#include "cli/why/why.h"
#include "common/end_process.h"
#include "common/flags.h"
#include "common/grpc_log.h"
#include "common/log.h"

namespace leeway {
namespace {

struct Verb {
  const char* name;
  const char* words;    // that follow it
  const char* summary;  // null: only leeway itself starts it
  // Which flags it takes: names, and files or folders that define them (with a slash).
  const char* flags;
  // `words`: what follows the verb; the flags are parsed. Returns the exit code.
  int (*run)(const std::vector<std::string>& words, int argc, char** argv);
  const char* more = "";  // lines of its --help below the summary
  const char* hint = "";  // behind the refusal of a flag that it does not have
  // Not listed by --help, nor taken from the environment, where LEEWAY_COORDINATOR is for other verbs.
  bool (*sets_itself)(const std::string& flag) = [](const std::string&) { return false; };
};

int Run(const std::vector<std::string>& words, int argc, char** argv) {
  if (!words.empty()) {
    ExitWithError(absl::InvalidArgumentError(absl::StrCat("leeway run takes flags only, not \"", words[0], "\"")));
  }
  return RunLocalCluster(argc, argv);
}

constexpr char kOfAll[] = "common/log.cc common/security_flags.cc";

constexpr Verb kVerbs[] = {
    {"run", "", "train on a cluster of local processes", "cli/run_options.cc common/ server/ worker/", Run, "",
     "; a flag of ps goes into --ps_flags, as in --ps_flags=\"--lease=2s\"", RunSetsItself},
    {"status", "--coordinator=HOST:PORT", "how a running cluster is: the run, its policy, workers, ps",
     "coordinator output o", RunStatus},
    {"top", "--coordinator=HOST:PORT", "the same, redrawn every second", "coordinator output o", RunTop},
    {"workers", "--coordinator=HOST:PORT", "the workers of a running cluster", "coordinator output o", RunWorkers},
    {"set", "[NAME=VALUE ...] --coordinator=HOST:PORT",
     "change numbers of a running cluster's policy, as staleness_bound=8; without any: show them",
     "coordinator output o ask_timeout", RunSet},
    {"drain", "WORKER|ps-N --coordinator=HOST:PORT", "have one worker, or ps-N, end in good order",
     "coordinator output o ask_timeout", RunDrain},
    {"bench", "transport|apply|encode|latency|train",
     "measure against baselines: transport, apply, encode, latency, train",
     "cli/bench/ output o data ps_binary worker_binary", RunBench, "", "", RunSetsItself},
    {"study", "", "compare policies for workers of different speeds, in simulated time",
     "cli/study/ output o seed model data batch pipeline_depth optimizer learning_rate momentum nesterov beta1 beta2 "
     "rho "
     "epsilon l1 l2 beta weight_decay group_rate group_decay schedule warmup_samples schedule_step_samples "
     "schedule_gamma "
     "schedule_total_samples final_learning_rate",
     RunStudy, kStudyHelp},
    {"replay", "CHECKPOINT_DIR", "carry out a run's journals again: its weights at the end, or at any push",
     "cli/replay.cc", RunReplay},
    {"checkpoint", "list|verify|reshard|diff|now [PATH ...]",
     "look at checkpoints: list, verify, reshard, diff; or take one: now",
     "coordinator output o num_shards checkpoint_timeout", RunCheckpoint},
    {"export", "PATH -o FILE", "a checkpoint's weights as one safetensors file", "output o", RunExport},
    {"why", "RUN_DIRECTORY, or --coordinator=HOST:PORT",
     "whom the workers have waited for: of a running cluster, or of a run's directory", "coordinator output o trace",
     RunWhy},
    {"tokenize", "--merges=FILE TEXT ... -o FILE", "texts as files of tokens, by GPT-2's byte pair encoding",
     "cli/tokenize.cc output o", RunTokenize},
    {"bench-peer", "", nullptr, "cli/ common/ server/ worker/", RunBenchPeer},
};

const Verb* Find(const std::string& name) {
  for (const Verb& verb : kVerbs) {
    if (name == verb.name) return &verb;
  }
  return nullptr;
}

std::string Usage() {
  std::string text = "usage: leeway VERB [--flag=value ...]\n\n";
  for (const Verb& verb : kVerbs) {
    if (verb.summary != nullptr) absl::StrAppendFormat(&text, "  %-10s %s\n", verb.name, verb.summary);
  }
  return text + "  help       this list; `leeway VERB --help`: what a verb does, and its flags\n";
}

std::string Usage(const Verb& verb) {
  if (verb.summary == nullptr) return Usage();
  return absl::StrCat("usage: leeway ", verb.name, " ", verb.words, verb.words[0] == 0 ? "" : " ",
                      "[--flag=value ...]\n\n", verb.summary, "\n", verb.more);
}

FlagFilter FlagsOf(const Verb& verb) {
  return [&verb](const std::string& name, const std::string& file) {
    const std::string words = absl::StrCat(verb.flags, " ", kOfAll);
    for (const absl::string_view word : absl::StrSplit(words, ' ')) {
      if (word.find('/') == word.npos ? name == word : absl::StartsWith(file, word)) return true;
    }
    return false;
  };
}

FlagFilter ListedFlagsOf(const Verb& verb) {
  return [&verb, taken = FlagsOf(verb)](const std::string& name, const std::string& file) {
    return taken(name, file) && !verb.sets_itself(name);
  };
}

void ForgetVariablesOfOthers(const Verb& verb) {
  std::vector<std::string> others;
  for (char** word = environ; *word != nullptr; ++word) {
    const std::string name = std::string(*word).substr(0, std::string(*word).find('='));
    absl::string_view flag = name;
    if (absl::ConsumePrefix(&flag, "LEEWAY_") && verb.sets_itself(absl::AsciiStrToLower(flag))) others.push_back(name);
  }
  for (const std::string& name : others) unsetenv(name.c_str());
}

int Main(int argc, char** argv) {
  const std::vector<std::string> given(argv + 1, argv + argc);
  // Flags may come first, so the verb is the first word that is one.
  const auto first = std::find_if(given.begin(), given.end(), [](const auto& word) { return Find(word) != nullptr; });
  const Verb* named = first == given.end() ? nullptr : Find(*first);
  if (named != nullptr) ForgetVariablesOfOthers(*named);
  const std::vector<std::string> arguments =
      named == nullptr ? ParseFlags(argc, argv, Usage())
                       : ParseFlags(argc, argv, Usage(*named), ListedFlagsOf(*named), named->hint);
  if (arguments.empty() || arguments[0] == "help") {
    const bool one = arguments.size() == 2 && named != nullptr;
    std::fputs((one ? FlagHelp(Usage(*named), ListedFlagsOf(*named)) : Usage()).c_str(), stdout);
    return arguments.empty() ? 1 : 0;
  }
  const Verb* verb = Find(arguments[0]);
  if (verb == nullptr) {
    std::vector<std::string> names = {"help"};
    for (const Verb& known : kVerbs) names.push_back(known.name);
    const std::string guess = DidYouMean(arguments[0], names);
    ExitWithError(absl::InvalidArgumentError(
        absl::StrCat("unknown verb ", arguments[0], guess.empty() ? "" : absl::StrCat(", did you mean ", guess, "?"),
                     " (leeway help lists all)")));
  }
  const absl::Status taken = CheckArguments(given, FlagsOf(*verb), absl::StrCat("leeway ", verb->name));
  if (!taken.ok()) ExitWithError(absl::InvalidArgumentError(absl::StrCat(taken.message(), verb->hint)));
  // The environment's LEEWAY_OUTPUT gives way to -o.
  const bool output = std::any_of(given.begin(), given.end(),
                                  [](const std::string& word) { return absl::StartsWith(word, "--output"); });
  if (output && FlagGiven("o")) ExitWithError(absl::InvalidArgumentError("-o is short for --output: give one of them"));
  const absl::Status logging = InitLogging("leeway");
  if (!logging.ok()) ExitWithError(logging);
  RouteLibraryLogs();
  // Never undone: the last grpc_shutdown may wait 10 s for a poller.
  grpc_init();
  return verb->run({arguments.begin() + 1, arguments.end()}, argc, argv);
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { leeway::EndProcess(leeway::Main(argc, argv)); }
