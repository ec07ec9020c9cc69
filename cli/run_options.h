// RunOptions: what `leeway run` was asked to do, checked; and the command lines that follow from it.
//
// Flags of the ps and of the worker are linked into `leeway` too. Those that were given are handed on by
// name to the processes they belong to, told apart by the folder of the file that defines them.
//
// Thread safety: the flag readers from one thread; the rest are pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/security.h"

namespace leeway {

struct RunOptions {
  int num_ps = 1;
  int num_workers = 1;
  bool eval = true;
  bool restart_workers = false;
  bool restart_ps = false;
  std::string directory;  // of the run; not made yet
  std::string ps_binary, worker_binary;
  std::string summary_json;     // "": no copy
  std::string tensorboard_dir;  // of every process; "": none
  int http_port = -1;           // of ps-0's status page; 0: a free one; -1: none
  absl::Duration display_every;
  absl::Duration stop_grace;
  std::vector<std::string> ps_flags, worker_flags;                // "--flag=value", for all of them
  std::map<std::string, std::vector<std::string>> special_flags;  // by process name, after worker_flags
  Security security = {};                                         // of leeway's own calls
};

// From the flags. INVALID_ARGUMENT (one line: flag, value, what is allowed): numbers out of range, a worker
// that does not exist, a worker flag that does not exist or has an illegal value, a flag that leeway run
// sets itself. NOT_FOUND: ps or worker is not where it should be.
absl::StatusOr<RunOptions> RunOptionsFromFlags();

// What leeway run gives its processes itself, and so refuses: --name, --rank and so on.
bool RunSetsItself(const std::string& flag);

// "--flag=value" for every flag that was given a value and is defined in a file of `folder` ("server/").
std::vector<std::string> GivenFlagsOf(const std::string& folder);

// "1:--batch=32 --threads=2;eval:--threads=2" by process name: {"worker-1": [...], "eval": [...]}.
// INVALID_ARGUMENT as above; the flags must be defined in a file of `folder`.
absl::StatusOr<std::map<std::string, std::vector<std::string>>> ParseSpecialFlags(const std::string& text,
                                                                                  int num_workers,
                                                                                  const std::string& folder);

// Process names: "ps-0", "worker-0", "eval".
std::string PsName(int index);
std::string WorkerName(int index);
inline constexpr char kEvaluatorName[] = "eval";

// Where ps-`index` writes the address that it listens on.
std::string PortFile(const RunOptions& options, int index);

// Where ps-0 writes the address of its status page.
std::string HttpPortFile(const RunOptions& options);

// `coordinator` ("host:port") is not used for ps-0, which is the coordinator.
std::vector<std::string> PsCommand(const RunOptions& options, int index, const std::string& coordinator);
std::vector<std::string> WorkerCommand(const RunOptions& options, int index, const std::string& coordinator);
// It keeps the best and the final weights in the run's directory, unless worker flags say where else.
std::vector<std::string> EvaluatorCommand(const RunOptions& options, const std::string& coordinator);

}  // namespace leeway
