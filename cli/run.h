// `leeway run`: a whole cluster on this machine in one command.
//
// Thread safety: the main thread.
#pragma once

#include <string>
#include <vector>

namespace leeway {

// Runs the cluster that the flags describe until training ends. Exit code: 0 training finished; 1 bad input,
// nothing was started; 2 a ps died, or no worker was left; 128 + the signal that ended it (130: Ctrl-C).
// No process is left behind in any case.
int RunLocalCluster(int argc, char** argv);

}  // namespace leeway
