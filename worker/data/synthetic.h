// A made-up image set that models can learn, for tests and for trying things out without files.
//
// Ten classes of 28 x 28 images. Each class is a sum of a few smooth blobs; a record is its class's picture,
// moved by up to two pixels, dimmed or brightened, under noise. A linear model learns most of it, a
// convolution nearly all.
//
// Thread safety: a pure function.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/dataset.h"

namespace leeway {

// INVALID_ARGUMENT: not 1 to 10,000,000.
absl::Status CheckSyntheticRecords(std::uint64_t records);

// `records` (1 to 10,000,000) images; the same arguments give the same bytes on every machine. Both splits show the
// same classes; their records differ. INVALID_ARGUMENT: another number of records.
absl::StatusOr<Dataset> MakeSynthetic(std::uint64_t records, std::uint64_t seed, Split split);

}  // namespace leeway
