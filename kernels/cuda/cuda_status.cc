#include "kernels/cuda/cuda_status.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

// "cudaMalloc" of "cudaMalloc(&address, bytes)": the arguments' names tell people nothing.
std::string NameOf(const char* call) {
  const std::string text(call);
  return text.substr(0, text.find('('));
}

}  // namespace

absl::Status CudaStatus(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return absl::OkStatus();
  // An error that can be recovered from (no memory, a bad launch) would else be found again by the next launch's check.
  static_cast<void>(cudaGetLastError());
  const std::string message =
      absl::StrCat(NameOf(call), ": ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ")");
  return error == cudaErrorMemoryAllocation ? absl::ResourceExhaustedError(message) : absl::InternalError(message);
}

absl::Status CublasStatus(cublasStatus_t error, const char* call) {
  if (error == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message =
      absl::StrCat(NameOf(call), ": ", cublasLtGetStatusString(error), " (", cublasLtGetStatusName(error), ")");
  return error == CUBLAS_STATUS_ALLOC_FAILED ? absl::ResourceExhaustedError(message) : absl::InternalError(message);
}

}  // namespace leeway
