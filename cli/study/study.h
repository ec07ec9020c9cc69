// `leeway study`: what a cluster of workers with different speeds would do under several policies, in simulated time.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

namespace leeway {

// `words`: none. Returns the exit code.
int RunStudy(const std::vector<std::string>& words, int argc, char** argv);

// What `leeway study --help` says beside the flags.
inline constexpr char kStudyHelp[] =
    "Simulates workers of different speeds under each policy, with the cluster's own gate, rounds, tickets, "
    "membership\n"
    "and optimizers, in one process and in simulated time. The seed repeats a run exactly. With --model=softmax, "
    "mlp...\n"
    "or cnn it trains that on --data (synthetic:20000 if there is none), each gradient on the weights that its worker\n"
    "had read; without it throughput and delays alone are simulated. --pipeline_depth is 0 unless it is given, and\n"
    "always in rounds and at bound 0.\n";

}  // namespace leeway
