// leeway replay: carries out the journals of a run again, and so makes its final weights, or those at any push.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

namespace leeway {

// `words`: the --checkpoint_dir of the run. Returns the exit code; ends the process with one line when a journal is
// damaged or none is there.
int RunReplay(const std::vector<std::string>& words, int argc, char** argv);

}  // namespace leeway
