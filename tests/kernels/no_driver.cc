// A stand-in for the CUDA backend on a machine without a driver.
#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_plugin.h"

extern "C" void leeway_new_cuda_backend_2(const leeway::CudaOptions& options,
                                          absl::StatusOr<std::unique_ptr<leeway::Backend>>* backend) {
  *backend = absl::UnavailableError(absl::StrCat("no GPU ", options.device, ": no driver"));
}
