#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reductions.h"
#include "kernels/cuda/vectors.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kMaxBlocks = 1024;  // partial results, which one block then combines

struct Squares {
  using Value = double;
  static constexpr double kIdentity = 0;
  __device__ static double Take(float x, long long) { return static_cast<double>(x) * x; }
  __device__ static double Combine(double a, double b) { return a + b; }
  __device__ static double Result(double value) { return value; }
};

struct NonFinite {
  using Value = long long;
  static constexpr long long kIdentity = 0x7fffffffffffffffll;
  __device__ static long long Take(float x, long long i) { return isfinite(x) ? kIdentity : i; }
  __device__ static long long Combine(long long a, long long b) { return a < b ? a : b; }
  __device__ static long long Result(long long value) { return value == kIdentity ? -1 : value; }
};

template <typename Rule>
struct CombineOf {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return Rule::Combine(a, b);
  }
};

// One partial result per block.
template <typename Rule>
__global__ void Partial(std::size_t count, const float* x, typename Rule::Value* partial) {
  typename Rule::Value value = Rule::kIdentity;
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * kThreads;
  std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  // Four loads under way at a time: the sum of each is short, the wait for memory long.
  for (; i + 3 * stride < count; i += 4 * stride) {
    const float a = x[i], b = x[i + stride], c = x[i + 2 * stride], d = x[i + 3 * stride];
    value = Rule::Combine(value, Rule::Take(a, i));
    value = Rule::Combine(value, Rule::Take(b, i + stride));
    value = Rule::Combine(value, Rule::Take(c, i + 2 * stride));
    value = Rule::Combine(value, Rule::Take(d, i + 3 * stride));
  }
  for (; i < count; i += stride) value = Rule::Combine(value, Rule::Take(x[i], i));
  value = BlockCombine<kThreads>(value, Rule::kIdentity, CombineOf<Rule>());
  if (threadIdx.x == 0) partial[blockIdx.x] = value;
}

template <typename Rule>
__global__ void Final(unsigned count, const typename Rule::Value* partial, typename Rule::Value* result) {
  typename Rule::Value value = Rule::kIdentity;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) value = Rule::Combine(value, partial[i]);
  value = BlockCombine<kThreads>(value, Rule::kIdentity, CombineOf<Rule>());
  if (threadIdx.x == 0) *result = Rule::Result(value);
}

template <typename Rule>
cudaError_t Reduce(cudaStream_t stream, std::size_t count, const float* x, typename Rule::Value* result,
                   void* workspace) {
  auto* partial = static_cast<typename Rule::Value*>(workspace);
  const unsigned blocks = std::clamp(CeilDiv(count, std::size_t{8} * kThreads), 1u, kMaxBlocks);
  Partial<Rule><<<blocks, kThreads, 0, stream>>>(count, x, partial);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  Final<Rule><<<1, kThreads, 0, stream>>>(blocks, partial, result);
  return cudaGetLastError();
}

constexpr int kColumnThreads = 32, kRowThreads = 8;

// Block (c, r) sums rows [r * rows_per_block, ...) of 32 * V columns; thread (x, y) takes every eighth row of V
// columns.
template <int V, typename T>
__global__ void ColumnPartial(std::int64_t rows, std::int64_t columns, std::int64_t rows_per_block, const T* x,
                              bool add, float* sums) {
  __shared__ float parts[kRowThreads][V][kColumnThreads];
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x) * V;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * rows_per_block;
  const std::int64_t end = min(rows, begin + rows_per_block);
  float sum[V] = {};
  if (column < columns) {
#pragma unroll 4
    for (std::int64_t row = begin + threadIdx.y; row < end; row += kRowThreads) {
      float values[V];
      if constexpr (V == 1) {
        values[0] = Load(x + row * columns + column);
      } else {
        LoadVector(x + row * columns + column, values);
      }
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += values[i];
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) parts[threadIdx.y][i][threadIdx.x] = sum[i];
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  float* const out = sums + static_cast<std::int64_t>(blockIdx.y) * columns + column;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    for (int y = 1; y < kRowThreads; ++y) sum[i] += parts[y][i][threadIdx.x];
    out[i] = add ? out[i] + sum[i] : sum[i];
  }
}

template <int V, typename T>
cudaError_t SumColumns(cudaStream_t stream, std::int64_t rows, std::int64_t columns, const T* x, bool add, float* sums,
                       float* partial, std::int64_t partial_floats) {
  const dim3 threads(kColumnThreads, kRowThreads);
  const unsigned wide = CeilDiv(static_cast<std::size_t>(columns), kColumnThreads * V);
  // Enough blocks to fill a large GPU, each with enough rows to be worth its start.
  std::int64_t parts = std::min<std::int64_t>({(rows + 63) / 64, 1 + 1024 / wide, partial_floats / columns, 4096});
  if (parts <= 1) {
    ColumnPartial<V><<<dim3(wide, 1), threads, 0, stream>>>(rows, columns, rows, x, add, sums);
    return cudaGetLastError();
  }
  const std::int64_t rows_per_block = (rows + parts - 1) / parts;
  parts = (rows + rows_per_block - 1) / rows_per_block;
  ColumnPartial<V><<<dim3(wide, static_cast<unsigned>(parts)), threads, 0, stream>>>(rows, columns, rows_per_block, x,
                                                                                     false, partial);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  const unsigned narrow = CeilDiv(static_cast<std::size_t>(columns), kColumnThreads);
  ColumnPartial<1>
      <<<dim3(narrow, 1), threads, 0, stream>>>(parts, columns, parts, static_cast<const float*>(partial), add, sums);
  return cudaGetLastError();
}

template <typename T>
cudaError_t SumColumns(cudaStream_t stream, std::int64_t rows, std::int64_t columns, const void* x, bool add,
                       float* sums, float* partial, std::int64_t partial_floats) {
  const auto* typed = static_cast<const T*>(x);
  // Vectors only where there are enough columns to keep a block's threads busy with them.
  if (columns % kVector<T> == 0 && columns >= kColumnThreads * kVector<T> && Aligned16(x)) {
    return SumColumns<kVector<T>>(stream, rows, columns, typed, add, sums, partial, partial_floats);
  }
  return SumColumns<1>(stream, rows, columns, typed, add, sums, partial, partial_floats);
}

}  // namespace

cudaError_t SquaredNorm(cudaStream_t stream, std::size_t count, const float* x, double* result, void* workspace) {
  return Reduce<Squares>(stream, count, x, result, workspace);
}

cudaError_t FindNonFinite(cudaStream_t stream, std::size_t count, const float* x, std::int64_t* result,
                          void* workspace) {
  static_assert(sizeof(long long) == sizeof(std::int64_t));
  return Reduce<NonFinite>(stream, count, x, reinterpret_cast<long long*>(result), workspace);
}

cudaError_t ColumnSums(cudaStream_t stream, std::int64_t rows, std::int64_t columns, const void* x, bool bf16, bool add,
                       float* sums, void* workspace, std::size_t workspace_bytes) {
  auto* partial = static_cast<float*>(workspace);
  const auto floats = static_cast<std::int64_t>(workspace_bytes / sizeof(float));
  if (bf16) return SumColumns<Bf16>(stream, rows, columns, x, add, sums, partial, floats);
  return SumColumns<float>(stream, rows, columns, x, add, sums, partial, floats);
}

}  // namespace leeway::cuda
