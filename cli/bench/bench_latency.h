// bench latency: 64 bytes there and back through Leeway's transports and servers, against a bare gRPC callback echo.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/bench_row.h"
#include "cli/bench/measure.h"

namespace leeway {

// Rows named latency.*: microseconds with one call outstanding, calls per second with 64. The peers' logs go to
// `directory`.
absl::StatusOr<std::vector<BenchRow>> BenchLatency(const std::string& directory, const Turns& turns);

}  // namespace leeway
