// bench transport: how fast gradients and weights travel between one worker and one shard on this machine, against
// the raw program over the same sockets, and against gRPC with plain protobuf.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/bench_row.h"
#include "cli/bench/measure.h"
#include "cli/run_options.h"

namespace leeway {

struct BenchTransportOptions {
  std::uint64_t elements = 0;  // float32
  Turns turns;
  RunOptions binaries;  // ps_binary and directory are used
};

// Rows named transport.*, speeds in GB/s (1e9 bytes) and CPU seconds per GB of both ends together.
absl::StatusOr<std::vector<BenchRow>> BenchTransport(const BenchTransportOptions& options);

}  // namespace leeway
