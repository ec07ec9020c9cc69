// The cpu backend's element-wise loops and reductions on host memory. Meanings: kernels/ops.h. They vectorize, run
// on the calling thread, and give the same bits however often they run.
//
// Thread safety: pure functions over the caller's memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leeway::loops {

void Fill(std::size_t count, float value, float* x);
void Scale(std::size_t count, float factor, float* x);
void Axpy(std::size_t count, float a, const float* x, float* y);
// y = a + b; y may be either.
void Add(std::int64_t count, const float* a, const float* b, float* y);
void ReluForward(std::size_t count, const float* x, float* y);
void ReluBackward(std::size_t count, const float* y, const float* dy, float* dx);
double SquaredNorm(std::size_t count, const float* x);
// sums[column] (+)= the sum of x[rows,columns] over the rows.
void ColumnSums(std::int64_t rows, std::int64_t columns, const float* x, bool add, float* sums);

}  // namespace leeway::loops
