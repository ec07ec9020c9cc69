// RunFacts: what a report says about a run beyond the cluster's own status.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace leeway {

struct RunFacts {
  std::string command_line;
  std::string started;                                        // local date and time
  std::string machine;                                        // "2 cores, 23 GiB memory, Debian 12"
  std::vector<std::pair<std::string, std::string>> versions;  // of programs and libraries: {"leeway", "0.1.0"}
};

}  // namespace leeway
