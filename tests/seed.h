// The seed of randomized tests: random on each run, printed, and repeatable.
//
// Thread safety: TestSeed() may be called from any thread.
#pragma once

#include <cstdint>

namespace leeway {

// $LEEWAY_TEST_SEED (a decimal number below 2^64) where it is set, else a random number drawn once per process. The
// first call prints it to stderr in the form in which it is set; a value that is no such number ends the process.
uint64_t TestSeed();

}  // namespace leeway
