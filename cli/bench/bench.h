// leeway bench: measures this machine's cluster against baselines of the same run.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

namespace leeway {

// `what`: the words after "bench"; flags are parsed. Returns the exit code.
int RunBench(const std::vector<std::string>& what, int argc, char** argv);

}  // namespace leeway
