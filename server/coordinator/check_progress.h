// CheckProgress: may this be what a worker has done since it began? What is kept of reports, and handed on to everybody
// who asks for the status, has a size that does not depend on who sends them; and its numbers can be calculated with.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"

namespace leeway {

inline constexpr std::size_t kLongestDevice = 200;

// INVALID_ARGUMENT names what cannot be. `most_workers`: that there can have been. A loss may be anything: it is what
// the worker has calculated.
absl::Status CheckProgress(const v1::Progress& progress, std::uint32_t num_shards, std::size_t most_workers);

}  // namespace leeway
