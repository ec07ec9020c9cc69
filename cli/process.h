// Process: a child process that does not outlive this one. It leads its own process group (a Ctrl-C on the
// terminal does not reach it), the kernel kills it when this process dies, and its output goes to a log file.
//
// Thread safety: one thread; the one that calls Start must live as long as the child should, because the
// kernel's parent-death signal watches that thread.
// Ownership: the destructor kills what still runs of the group, and reaps the child.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace leeway {

// How a process ended: by exit(code), or by a signal.
struct ProcessExit {
  int code = 0;
  int signal = 0;  // 0: it called exit

  bool ok() const { return code == 0 && signal == 0; }
};

// "ended with exit code 3", "was killed by signal 9 (Killed)".
std::string Describe(const ProcessExit& exit);

class Process {
 public:
  struct Options {
    std::string name;                      // for messages
    std::vector<std::string> command;      // the program's path, then its arguments
    std::vector<std::string> environment;  // "NAME=value"
    std::string log_file;                  // stdout and stderr are appended to it
  };

  // UNAVAILABLE: the log file cannot be opened or the program cannot be started; names it and the reason.
  static absl::StatusOr<std::unique_ptr<Process>> Start(Options options);

  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  const Options& options() const { return options_; }
  const std::string& name() const { return options_.name; }
  pid_t pid() const { return pid_; }

  // How the child ended, or nothing while it runs. When it has ended, whatever it left behind in its
  // process group is killed.
  const std::optional<ProcessExit>& Poll();

  // Sends `signal` to the child and its process group; nothing happens once it has ended.
  void Signal(int signal);

 private:
  Process(Options options, pid_t pid) : options_(std::move(options)), pid_(pid) {}

  const Options options_;
  const pid_t pid_;
  std::optional<ProcessExit> exit_;
};

// Waits until every one of `processes` has ended. False: not all had within `timeout`, or `hurry` (may be
// null; asked some 20 times a second) answered true.
bool WaitForAll(const std::vector<Process*>& processes, absl::Duration timeout,
                const std::function<bool()>& hurry = nullptr);

// SIGTERM to every process, then SIGKILL to those that still run after `grace`, or when `hurry` says so. All
// have ended on return.
void StopAll(const std::vector<Process*>& processes, absl::Duration grace,
             const std::function<bool()>& hurry = nullptr);

}  // namespace leeway
