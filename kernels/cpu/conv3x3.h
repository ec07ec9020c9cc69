// NewCpuConv3x3: Conv3x3 (kernels/ops.h) on oneDNN's convolutions.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "dnnl.hpp"
#include "kernels/ops.h"

namespace leeway {

// `shape` is that of x, at the largest batch, whose primitives are prepared here. INTERNAL: oneDNN failed.
absl::StatusOr<std::unique_ptr<Conv3x3>> NewCpuConv3x3(const dnnl::engine& engine, int threads, const ImageShape& shape,
                                                       std::int64_t out_channels);

}  // namespace leeway
