// A 3x3 convolution on a GPU (kernels/ops.h) as matrix products over the columns of its images (kernels/cuda/images.h).
// The columns are 9 times as large as the images, so that they are made for some images at a time, in scratch memory of
// at most kConvScratchBytes (or of one image).
//
// Thread safety and ownership: as Conv3x3.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/ops.h"

namespace leeway {

inline constexpr std::size_t kConvScratchBytes = std::size_t{64} << 20;

// RESOURCE_EXHAUSTED: no memory for the scratch.
absl::StatusOr<std::unique_ptr<Conv3x3>> NewCudaConv3x3(const ImageShape& shape, std::int64_t out_channels);

}  // namespace leeway
