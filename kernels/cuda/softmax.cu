#include <cuda_bf16.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/softmax.h"

namespace leeway::cuda {
namespace {

struct RowResult {
  double loss;
  std::int32_t correct;  // 1, 0, or kBadLabel
};
constexpr std::int32_t kBadLabel = -1;

__device__ float Load(const float* x) { return *x; }
__device__ float Load(const __nv_bfloat16* x) { return __bfloat162float(*x); }
__device__ void Store(float value, float* x) { *x = value; }
__device__ void Store(float value, __nv_bfloat16* x) { *x = __float2bfloat16_rn(value); }

// The larger logit; of equals the one further left.
struct Best {
  float value;
  int index;
};
__device__ Best BetterOf(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

// Combines over the kThreads threads (one warp, or a whole block) that share a row; every thread gets the result.
template <int kThreads>
__device__ Best RowBest(Best best) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Best other{__shfl_xor_sync(0xffffffffu, best.value, offset), __shfl_xor_sync(0xffffffffu, best.index, offset)};
    best = BetterOf(best, other);
  }
  if constexpr (kThreads > kWarp) {
    __shared__ Best warps[kThreads / kWarp];
    __syncthreads();
    if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = best;
    __syncthreads();
    best = warps[0];
    for (int i = 1; i < kThreads / kWarp; ++i) best = BetterOf(best, warps[i]);
  }
  return best;
}
template <int kThreads>
__device__ float RowSum(float value) {
  if constexpr (kThreads == kWarp) {
    return WarpSum(value);
  } else {
    return BlockSum<kThreads>(value);
  }
}

// kThreads threads per row, blockDim.x / kThreads rows per block. dlogits may be logits: a thread writes the elements
// that it alone has read, after the last read of the label's logit by the others.
template <int kThreads, typename T>
__global__ void Rows(CrossEntropy args, RowResult* results) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / kThreads) + threadIdx.x / kThreads;
  if (row >= args.rows) return;  // whole warps, and whole blocks where a block has one row
  const int lane = threadIdx.x % kThreads;
  const int classes = static_cast<int>(args.classes), columns = static_cast<int>(args.columns);
  const T* const z = static_cast<const T*>(args.logits) + row * columns;
  const std::int32_t label = args.labels[row];
  if (label < 0 || label >= classes) {
    if (lane == 0) results[row] = {0, kBadLabel};
    return;
  }
  Best best{-INFINITY, classes};
  for (int c = lane; c < classes; c += kThreads) best = BetterOf(best, {Load(z + c), c});  // a NaN is never better
  best = RowBest<kThreads>(best);
  // Subtracting the largest logit keeps every exponential in [0, 1].
  float part = 0;
  for (int c = lane; c < classes; c += kThreads) part += expf(Load(z + c) - best.value);
  const float label_logit = Load(z + label);
  const float total = RowSum<kThreads>(part);
  if (lane == 0) {
    results[row] = {log(static_cast<double>(total)) - (static_cast<double>(label_logit) - best.value),
                    best.index == label};
  }
  if (args.dlogits == nullptr) return;
  if constexpr (kThreads == kWarp) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  T* const dz = static_cast<T*>(args.dlogits) + row * columns;
  const float share = args.scale / total;
  for (int c = lane; c < columns; c += kThreads) {
    float gradient = 0;
    if (c < classes) gradient = expf(Load(z + c) - best.value) * share - (c == label ? args.scale : 0.0f);
    Store(gradient, dz + c);
  }
}

// One block: the rows' results in a fixed order, and the first label that names no class.
constexpr int kSumThreads = 1024;
__global__ void Sum(CrossEntropy args, const RowResult* results) {
  double loss = 0;
  long long correct = 0, bad = args.rows;
  for (long long row = threadIdx.x; row < args.rows; row += kSumThreads) {
    const RowResult result = results[row];
    loss += result.loss;
    if (result.correct == kBadLabel) {
      bad = min(bad, row);
    } else {
      correct += result.correct;
    }
  }
  loss = BlockSum<kSumThreads>(loss);
  correct = BlockSum<kSumThreads>(correct);
  bad = BlockCombine<kSumThreads>(bad, static_cast<long long>(args.rows), Smaller());
  if (threadIdx.x != 0) return;
  *args.loss_sum = loss;
  *args.correct = correct;
  if (bad < args.rows && args.fault->kind == DeviceFault::kNone) {
    args.fault->row = bad;
    args.fault->value = args.labels[bad];
    args.fault->limit = args.classes;
    args.fault->kind = DeviceFault::kLabel;
  }
}

template <typename T>
void StartRows(cudaStream_t stream, const CrossEntropy& args, RowResult* results) {
  constexpr int kRowsPerBlock = 8, kBlock = 512;
  const auto rows = static_cast<std::size_t>(args.rows);
  if (args.columns <= 1024) {
    Rows<kWarp, T><<<CeilDiv(rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, stream>>>(args, results);
  } else {
    Rows<kBlock, T><<<static_cast<unsigned>(rows), kBlock, 0, stream>>>(args, results);
  }
}

}  // namespace

std::int64_t CrossEntropyRows(std::size_t workspace_bytes) {
  return static_cast<std::int64_t>(workspace_bytes / sizeof(RowResult));
}

cudaError_t SoftmaxCrossEntropy(cudaStream_t stream, const CrossEntropy& args, void* workspace) {
  auto* const results = static_cast<RowResult*>(workspace);
  if (args.bf16) {
    StartRows<__nv_bfloat16>(stream, args, results);
  } else {
    StartRows<float>(stream, args, results);
  }
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  Sum<<<1, kSumThreads, 0, stream>>>(args, results);
  return cudaGetLastError();
}

}  // namespace leeway::cuda
