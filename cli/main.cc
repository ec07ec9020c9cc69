// leeway: the one tool a person types. Each verb is a function in a file of its own; kVerbs lists them.
#include <grpc/grpc.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/admin/admin_verbs.h"
#include "cli/bench/bench.h"
#include "cli/bench/peer.h"
#include "cli/checkpoint/checkpoint_verbs.h"
#include "cli/replay.h"
#include "cli/run.h"
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
  const char* summary;  // null: only leeway itself starts it
  // `words`: what follows the verb; the flags are parsed. Returns the exit code.
  int (*run)(const std::vector<std::string>& words, int argc, char** argv);
};

int Run(const std::vector<std::string>& words, int argc, char** argv) {
  if (!words.empty()) {
    ExitWithError(absl::InvalidArgumentError(absl::StrCat("leeway run takes flags only, not \"", words[0], "\"")));
  }
  return RunLocalCluster(argc, argv);
}

constexpr Verb kVerbs[] = {
    {"run", "train on a cluster of local processes", Run},
    {"status", "how a running cluster is: the run, its policy, workers, ps", RunStatus},
    {"top", "the same, redrawn every second", RunTop},
    {"workers", "the workers of a running cluster", RunWorkers},
    {"set", "change numbers of a running cluster's policy, as staleness_bound=8; without any: show them", RunSet},
    {"drain", "have one worker, or ps-N, end in good order", RunDrain},
    {"bench", "measure against baselines: transport, apply, encode, latency, train", RunBench},
    {"replay", "carry out a run's journals again: its weights at the end, or at any push", RunReplay},
    {"checkpoint", "look at checkpoints: list, verify, reshard, diff; or take one: now", RunCheckpoint},
    {"export", "a checkpoint's weights as one safetensors file", RunExport},
    {"why", "whom the workers have waited for: of a running cluster, or of a run's directory", RunWhy},
    {"tokenize", "texts as files of tokens, by GPT-2's byte pair encoding", RunTokenize},
    {"bench-peer", nullptr, RunBenchPeer},
};

std::string Usage() {
  std::string text = "usage: leeway VERB [--flag=value ...]\n\n";
  for (const Verb& verb : kVerbs) {
    if (verb.summary != nullptr) absl::StrAppendFormat(&text, "  %-10s %s\n", verb.name, verb.summary);
  }
  return text + "  help       this list; `leeway VERB --help` lists all flags\n";
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments = ParseFlags(argc, argv, Usage());
  if (arguments.empty() || arguments[0] == "help") {
    std::fputs(Usage().c_str(), stdout);
    return arguments.empty() ? 1 : 0;
  }
  std::vector<std::string> names = {"help"};
  for (const Verb& verb : kVerbs) {
    names.push_back(verb.name);
    if (arguments[0] != verb.name) continue;
    const absl::Status logging = InitLogging("leeway");
    if (!logging.ok()) ExitWithError(logging);
    RouteLibraryLogs();
    // Never undone: the last grpc_shutdown may wait 10 s for a poller.
    grpc_init();
    return verb.run({arguments.begin() + 1, arguments.end()}, argc, argv);
  }
  const std::string guess = DidYouMean(arguments[0], names);
  ExitWithError(absl::InvalidArgumentError(
      absl::StrCat("unknown verb ", arguments[0], guess.empty() ? "" : absl::StrCat(", did you mean ", guess, "?"),
                   " (leeway help lists all)")));
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { leeway::EndProcess(leeway::Main(argc, argv)); }
