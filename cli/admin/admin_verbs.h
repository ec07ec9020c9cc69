// The verbs for a cluster that runs: leeway status, top, workers, set, drain. --coordinator says where its ps 0 is.
//
// Thread safety: one thread, which they block.
#pragma once

#include <string>
#include <vector>

namespace leeway {

// `words`: what follows the verb. They print what they have to say, and return the exit code.
int RunStatus(const std::vector<std::string>& words, int argc, char** argv);
int RunTop(const std::vector<std::string>& words, int argc, char** argv);
int RunWorkers(const std::vector<std::string>& words, int argc, char** argv);
int RunSet(const std::vector<std::string>& words, int argc, char** argv);
int RunDrain(const std::vector<std::string>& words, int argc, char** argv);

}  // namespace leeway
