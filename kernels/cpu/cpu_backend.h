// The `cpu` backend: oneDNN for matrix products and convolutions, own loops for the rest. Device memory is host
// memory, and an op has run when its call returns.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace leeway {

// `threads` is the number of OpenMP threads that every product and convolution of this backend uses; results depend
// on it in the last bits. INVALID_ARGUMENT: outside [1, 1024].
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(int threads);

}  // namespace leeway
