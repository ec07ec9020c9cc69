// Sums over vectors and columns, in an order that depends on the sizes alone.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error. Ownership: `workspace` is the stream's;
// the next op may overwrite it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace leeway::cuda {

// *result = the sum of squares, in double.
cudaError_t SquaredNorm(cudaStream_t stream, std::size_t count, const float* x, double* result, void* workspace);

// *result = the index of the first NaN or infinity, or -1.
cudaError_t FindNonFinite(cudaStream_t stream, std::size_t count, const float* x, std::int64_t* result,
                          void* workspace);

// sums[columns] (+)= the column sums of x[rows,columns]; x is float32, or bfloat16 where `bf16`.
cudaError_t ColumnSums(cudaStream_t stream, std::int64_t rows, std::int64_t columns, const void* x, bool bf16, bool add,
                       float* sums, void* workspace, std::size_t workspace_bytes);

}  // namespace leeway::cuda
