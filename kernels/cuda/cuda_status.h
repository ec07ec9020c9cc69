// From the errors of CUDA and cuBLASLt to absl::Status, with the name of the call that failed.
//
// Thread safety: pure functions, but CudaStatus clears the calling thread's last CUDA error.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "absl/status/status.h"

namespace leeway {

// RESOURCE_EXHAUSTED: not enough memory. INTERNAL: all else.
absl::Status CudaStatus(cudaError_t error, const char* call);
absl::Status CublasStatus(cublasStatus_t error, const char* call);

}  // namespace leeway

// Returns the error of a call of CUDA or cuBLASLt from the function, named as it stands in the source.
#define LEEWAY_RETURN_IF_CUDA_ERROR(call)                                                 \
  do {                                                                                    \
    if (const cudaError_t leeway_cuda_error = (call); leeway_cuda_error != cudaSuccess) { \
      return ::leeway::CudaStatus(leeway_cuda_error, #call);                              \
    }                                                                                     \
  } while (false)
#define LEEWAY_RETURN_IF_CUBLAS_ERROR(call)                                                                \
  do {                                                                                                     \
    if (const cublasStatus_t leeway_cublas_error = (call); leeway_cublas_error != CUBLAS_STATUS_SUCCESS) { \
      return ::leeway::CublasStatus(leeway_cublas_error, #call);                                           \
    }                                                                                                      \
  } while (false)
