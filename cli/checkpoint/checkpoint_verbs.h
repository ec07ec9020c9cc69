// leeway checkpoint list|verify|reshard|diff, and leeway export.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

namespace leeway {

// `words`: what follows the verb; flags are parsed. Returns the exit code: of verify 1 if anything is bad, of diff 1 if
// there is a difference.
int RunCheckpoint(const std::vector<std::string>& words, int argc, char** argv);
int RunExport(const std::vector<std::string>& words, int argc, char** argv);

}  // namespace leeway
