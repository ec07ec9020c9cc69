// RunFixture: `leeway run` with stand-ins for ps and worker, in a directory of its own.
//
// Thread safety: one thread.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/process.h"

namespace leeway {

class RunFixture {
 public:
  // Training takes `seconds`; `environment` ("NAME=value") steers the stand-ins.
  explicit RunFixture(double seconds, std::vector<std::string> environment = {});

  // leeway run with `flags` added to those that every test needs.
  std::vector<std::string> Command(const std::vector<std::string>& flags) const;
  const std::vector<std::string>& environment() const { return environment_; }

  std::unique_ptr<Process> Start(const std::vector<std::string>& flags) const;
  // Waits for at most a minute; {-1, 0}: it did not end.
  static ProcessExit Finish(Process* run);
  ProcessExit Run(const std::vector<std::string>& flags) const { return Finish(Start(flags).get()); }

  std::string Output() const;                       // stdout and stderr of leeway
  std::string File(const std::string& name) const;  // a file of the run's directory
  bool MadeDirectory() const;                       // of the run

  // The process id that a stand-in ("ps-0", "worker-1") wrote, once there is one; else 0.
  pid_t PidOf(const std::string& name) const;

  // True when the named processes wrote their ids and are gone.
  bool AreGone(const std::vector<std::string>& names) const;

 private:
  std::string directory_;
  std::vector<std::string> environment_;
};

}  // namespace leeway
