// MakeBackend: the backend that `--device` names.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace leeway {

// `device`: "auto" (the best there is), "cpu" or "cuda:N". INVALID_ARGUMENT: another name. UNIMPLEMENTED: this build
// has no such backend. The message names the flag and its value.
absl::Status CheckDevice(const std::string& device);

// As above; `threads` is the number of compute threads of the `cpu` backend. INVALID_ARGUMENT: outside [1, 1024].
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const std::string& device, int threads);

}  // namespace leeway
