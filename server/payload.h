// What must be true of a payload before its values may touch the weights.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "common/buffer.h"
#include "common/placement.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

// The payload is `run`'s blocks in `encoding`, whole, and nothing more; then BlockStore may decode it. Reads sizes, and
// of TOP_K the indices. INVALID_ARGUMENT says what of it, `what` ("gradient") first. Requires a run of `placement`.
absl::Status CheckPayload(const Placement& placement, const v1::BlockRun& run, v1::Encoding encoding,
                          const Buffer& payload, const std::string& what);

// The index within the run of the first value that decodes to NaN or infinity, or the run's number of elements.
// Requires a payload that CheckPayload found good.
std::size_t FirstNonFiniteIn(const Placement& placement, const v1::BlockRun& run, v1::Encoding encoding,
                             const Buffer& payload);

}  // namespace leeway
