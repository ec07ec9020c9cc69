// Finds and opens the CUDA backend's shared object (kernels/cuda/cuda_plugin.h). No CUDA is needed to build this.
//
// Thread safety: any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_plugin.h"

namespace leeway {

// Where the shared object may lie: beside the program, in ../lib if that is beside a bin/, in Bazel's build tree.
std::vector<std::string> CudaLibraryPlaces(const std::string& program);

// The first of `places` that exists. UNAVAILABLE: none does; it is cut off; a library that it needs is missing; there
// is no driver or GPU. FAILED_PRECONDITION: it is another build's. Each in one line. INTERNAL: as CudaFactory.
absl::StatusOr<std::unique_ptr<Backend>> LoadCudaBackend(const std::vector<std::string>& places,
                                                         const CudaOptions& options);

}  // namespace leeway
