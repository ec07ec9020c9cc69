// The groups of the GPU benchmark, one per file. Each prints its rows and returns what the line of results says of it.
#pragma once

#include <string>

#include "tests/gpu/bench.h"

namespace leeway {

// Ops that memory limits, optimizer steps among them: bytes read and written per second, next to a copy's.
std::string BenchmarkMemory(Benchmark& bench);
// The same of encodings.
std::string BenchmarkEncodings(Benchmark& bench);
// TFLOP/s over the half of the scores that is computed.
std::string BenchmarkAttention(Benchmark& bench);
// The products of a step of gpt:124m, each against the fastest of the algorithms that cuBLASLt's heuristic names.
std::string BenchmarkProducts(Benchmark& bench);
// Whole steps without a parameter server: forward, backward, SGD, on the host's clock.
std::string BenchmarkSteps(Benchmark& bench);
// The same, launched op by op and as one CUDA graph.
std::string BenchmarkGraphs(Benchmark& bench);

}  // namespace leeway
