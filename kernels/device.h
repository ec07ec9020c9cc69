// MakeBackend: the backend that `--device` names.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace leeway {

// `device`: "auto" (a GPU if one can be used, else the CPU, and then it logs why), "cpu" or "cuda:N".
// INVALID_ARGUMENT: another name. The message names the flag and its value.
absl::Status CheckDevice(const std::string& device);

// As above; `threads` is the number of compute threads of the `cpu` backend; with `tf32` the `cuda` backend's float32
// products may round their inputs to TF32. INVALID_ARGUMENT: threads outside [1, 1024]. UNAVAILABLE,
// FAILED_PRECONDITION, INTERNAL: "cuda:N" cannot be used here, and why (kernels/cuda/load_cuda.h).
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const std::string& device, int threads, bool tf32 = false);

}  // namespace leeway
