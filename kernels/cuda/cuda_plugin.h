// The door between a program and the CUDA backend, which is a shared object of its own (libleeway_cuda.so): one
// program then serves machines with and without a GPU, a driver or cuBLAS. kernels/device.cc opens it.
//
// The shared object is built from the same sources as the program that loads it. The number in the symbol's name
// changes with kernels/backend.h, ops.h, transformer_ops.h, vector_ops.h, what they hand over by value and this header,
// so that another build's is refused, not misread (load_cuda_test has the list).
//
// Thread safety: the factory may be called from any thread. Ownership: the caller owns the Backend; the shared object
// stays loaded for the rest of the process, for it holds the Backend's code.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace leeway {

struct CudaOptions {
  int device = 0;
  // Float32 products may round their inputs to TF32 (10 bits of mantissa): several times as fast.
  bool tf32 = false;
  // Transformers keep their activations in bfloat16, else in float32.
  bool bf16 = true;
};

inline constexpr char kCudaLibrary[] = "libleeway_cuda.so";
inline constexpr char kCudaFactory[] = "leeway_new_cuda_backend_2";

// UNAVAILABLE: no driver, no GPU, or none of that number. INTERNAL: CUDA or cuBLAS does not start.
using CudaFactory = void(const CudaOptions& options, absl::StatusOr<std::unique_ptr<Backend>>* backend);

}  // namespace leeway
