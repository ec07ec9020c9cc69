// bench apply: the optimizers' steps from memory, against axpy over as large arrays.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/bench_row.h"
#include "cli/bench/measure.h"

namespace leeway {

// Rows named apply.*, in GB/s of the bytes that must move: weights and slots read and written, the gradient read.
absl::StatusOr<std::vector<BenchRow>> BenchApply(std::uint64_t elements, const Turns& turns);

}  // namespace leeway
