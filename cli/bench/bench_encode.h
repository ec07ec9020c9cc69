// bench encode: how fast values are encoded and decoded, one thread, block by block, against memcpy and axpy.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/bench_row.h"
#include "cli/bench/measure.h"

namespace leeway {

// Rows named encode.*, in GB/s of the float32 values that go in or come out.
absl::StatusOr<std::vector<BenchRow>> BenchEncode(std::uint64_t elements, const Turns& turns);

}  // namespace leeway
