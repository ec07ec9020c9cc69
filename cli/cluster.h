// LocalCluster: the processes of one `leeway run` on this machine: parameter servers, workers, evaluator.
//
// Thread safety: one thread, which lives as long as the cluster (see Process).
// Ownership: the destructor leaves no process behind.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/process.h"
#include "cli/run_options.h"

namespace leeway {

enum class ProcessRole { kPs, kTrainer, kEvaluator };

class LocalCluster {
 public:
  // A process that has ended.
  struct Ended {
    std::string name;
    ProcessRole role;
    ProcessExit exit;
    bool restarting = false;  // it comes back within some seconds
  };

  // `options.directory` exists.
  explicit LocalCluster(RunOptions options);
  ~LocalCluster();

  // Starts ps-0, waits until it has said where it listens, however long it reads what an earlier one has kept, and
  // starts all the others. `wait` sleeps for at most the time it is given; when it answers false, the start is
  // CANCELLED. INVALID_ARGUMENT: ps-0 refuses what it was given (kExitBadInput). UNAVAILABLE: a program cannot be
  // started, or ps-0 ended. The message quotes its log.
  absl::Status Start(const std::function<bool(absl::Duration)>& wait);

  // "host:port" of ps-0, after Start.
  const std::string& coordinator() const { return coordinator_; }
  // The same of its status page; "": it has none.
  const std::string& status_page() const { return status_page_; }

  // The id of the process `name`, or 0 when there is none.
  pid_t Pid(const std::string& name) const;

  // The processes that have ended since the last call. The evaluator, and with options.restart_workers (restart_ps) a
  // worker (ps), that died of anything that may go well the next time starts again some time later, in a later call;
  // ps-0 under the same address. `finished`: the run is, and a ps that came back would be refused.
  absl::StatusOr<std::vector<Ended>> Reap(absl::Time now, bool finished = false);

  // The process `name`, which has ended, starts again too, in a later Reap. False: it has been started too often.
  bool Restart(const std::string& name, absl::Time now);

  // How the process `name` has ended last; nothing while it runs, or when there is none.
  std::optional<ProcessExit> ExitOf(const std::string& name) const;

  // How many processes of `role` run or are about to be restarted.
  int Count(ProcessRole role) const;

  // SIGTERM to workers and evaluator, then to the ps, each followed by SIGKILL after `grace`. `hurry` (may
  // be null) is asked meanwhile: true cuts the grace short, for all of them.
  void Stop(absl::Duration grace, const std::function<bool()>& hurry);

  // The end of a process's log, indented, for messages; "" when it is empty.
  std::string LastLines(const std::string& name) const;
  std::string LogFile(const std::string& name) const;

 private:
  struct Child {
    ProcessRole role;
    std::vector<std::string> command;
    std::unique_ptr<Process> process;
    bool ended = false;  // and reported
    absl::Time restart_at = absl::InfiniteFuture();
    int restarts = 0;
  };

  absl::Status Launch(const std::string& name, ProcessRole role, std::vector<std::string> command);
  absl::Status LaunchProcess(const std::string& name, Child* child);
  absl::Status AwaitCoordinator(const std::function<bool(absl::Duration)>& wait);
  bool Restart(const std::string& name, absl::Time now, Child* child);

  const RunOptions options_;
  const std::vector<std::string> environment_;
  std::string coordinator_;
  std::string status_page_;
  std::vector<std::pair<std::string, Child>> children_;  // in the order they were started
};

}  // namespace leeway
