#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/softmax.h"
#include "kernels/cuda/vectors.h"

namespace leeway::cuda {
namespace {

struct RowResult {
  double loss;
  std::int32_t correct;  // 1, 0, or kBadLabel
};
constexpr std::int32_t kBadLabel = -1;

// What is known of some logits: the largest, of equals the one furthest left, and the sum of exp(logit - largest).
constexpr int kNoIndex = 0x7fffffff;
struct Part {
  float largest = -INFINITY;
  int index = kNoIndex;
  float total = 0;
};
// exp(x) to about 2^-21, 0 for -infinity, NaN for NaN.
__device__ float Exp(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x * 1.4426950408889634f));
  return result;
}
// The first `count` of the values are logits, the first of them of class `index`.
template <int V>
__device__ void Take(const float (&values)[V], int index, int count, Part& part) {
  float most = -INFINITY;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if (i < count) most = fmaxf(most, values[i]);  // a NaN is passed over here: it makes the total NaN below
  }
  if (most > part.largest || part.index == kNoIndex) {
    if (most > part.largest) part.total *= Exp(part.largest - most);
    part.largest = most;
#pragma unroll
    for (int i = V - 1; i >= 0; --i) {
      if (i < count && values[i] == most) part.index = index + i;
    }
  }
  // Nothing is subtracted while all logits are -infinity: not NaN.
  const float base = part.largest == -INFINITY ? 0.0f : part.largest;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if (i < count) part.total += Exp(values[i] - base);
  }
}
__device__ Part Combine(const Part& a, const Part& b) {
  Part both = a;
  if (b.largest > a.largest || (b.largest == a.largest && b.index < a.index)) {
    both.largest = b.largest;
    both.index = b.index;
  }
  const float base = both.largest == -INFINITY ? 0.0f : both.largest;
  both.total = a.total * Exp(a.largest - base) + b.total * Exp(b.largest - base);
  if (both.largest == -INFINITY) both.total = a.total + b.total;  // 0, or NaN of a NaN
  return both;
}

// Over the kThreads threads (one warp, or a whole block) that share a row; every thread gets the result.
template <int kThreads>
__device__ Part RowPart(Part part) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Part other{__shfl_xor_sync(0xffffffffu, part.largest, offset),
                     __shfl_xor_sync(0xffffffffu, part.index, offset),
                     __shfl_xor_sync(0xffffffffu, part.total, offset)};
    // Both of a pair must get the same bits: the lower lane's part comes first for both.
    part = threadIdx.x & offset ? Combine(other, part) : Combine(part, other);
  }
  if constexpr (kThreads > kWarp) {
    __shared__ float largest[kThreads / kWarp], total[kThreads / kWarp];
    __shared__ int index[kThreads / kWarp];
    const int warp = threadIdx.x / kWarp;
    if (threadIdx.x % kWarp == 0) largest[warp] = part.largest, index[warp] = part.index, total[warp] = part.total;
    __syncthreads();
    part = {largest[0], index[0], total[0]};
    for (int i = 1; i < kThreads / kWarp; ++i) part = Combine(part, {largest[i], index[i], total[i]});
  }
  return part;
}

// What a row gives for the sum over all, of its label's logit.
__device__ RowResult Result(const Part& part, float total, float label_logit, std::int32_t label) {
  return {log(static_cast<double>(total)) - (static_cast<double>(label_logit) - part.largest), part.index == label};
}

// kThreads threads per row, blockDim.x / kThreads rows per block; V elements at a time. dlogits may be logits: a thread
// writes the elements that it alone has read, after the last read of the label's logit by the others.
template <int kThreads, int V, typename T>
__global__ void __launch_bounds__(kThreads == kWarp ? 8 * kWarp : kThreads)
    Rows(CrossEntropy args, RowResult* results) {
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
  const auto load = [&](int c, float(&values)[V]) {
    if constexpr (V == 1) {
      values[0] = Load(z + c);
    } else {
      LoadVector(z + c, values);
    }
  };
  Part part;
  for (int c = lane * V; c < classes; c += kThreads * V) {
    float values[V];
    load(c, values);
    Take(values, c, classes - c, part);
  }
  const float label_logit = Load(z + label);
  part = RowPart<kThreads>(part);
  // exp(inf - inf): a row with +infinity has no loss.
  const float total = part.largest == INFINITY ? NAN : part.total;
  if (lane == 0) results[row] = Result(part, total, label_logit, label);
  if (args.dlogits == nullptr) return;
  if constexpr (kThreads == kWarp) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  T* const dz = static_cast<T*>(args.dlogits) + row * columns;
  const float share = args.scale / total;
  for (int c = lane * V; c < columns; c += kThreads * V) {
    float values[V] = {};
    load(c, values);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float gradient = Exp(values[i] - part.largest) * share - (c + i == label ? args.scale : 0.0f);
      values[i] = c + i < classes ? gradient : 0.0f;
    }
    if constexpr (V == 1) {
      Store(values[0], dz + c);
    } else {
      StoreVector(values, dz + c);
    }
  }
}

// As Rows, with one row per block, which is read once: it is copied to shared memory, each vector by the thread that
// works on it, and all of a thread's copies are under way before it looks at the first.
constexpr int kKeepThreads = 512;
template <typename T>
__global__ void __launch_bounds__(kKeepThreads, 2) KeptRows(CrossEntropy args, RowResult* results) {
  constexpr int V = kVector<T>;
  extern __shared__ uint4 kept[];  // [columns / V]
  const std::int64_t row = blockIdx.x;
  const int classes = static_cast<int>(args.classes), columns = static_cast<int>(args.columns);
  const T* const z = static_cast<const T*>(args.logits) + row * columns;
  const std::int32_t label = args.labels[row];
  if (label < 0 || label >= classes) {
    if (threadIdx.x == 0) results[row] = {0, kBadLabel};
    return;
  }
  const int vectors = columns / V, used = (classes + V - 1) / V;  // used: that hold a logit
  const int full = classes / V;
  const int half = (used / kKeepThreads + 1) / 2 * kKeepThreads;  // so many vectors are waited for first
  const auto* const from = reinterpret_cast<const uint4*>(z);
  for (int c = threadIdx.x; c < min(half, used); c += kKeepThreads) __pipeline_memcpy_async(kept + c, from + c, 16);
  __pipeline_commit();
  for (int c = half + threadIdx.x; c < used; c += kKeepThreads) __pipeline_memcpy_async(kept + c, from + c, 16);
  __pipeline_commit();
  const float label_logit = Load(z + label);
  const auto load = [&](int c, float(&values)[V]) { LoadVector(reinterpret_cast<const T*>(kept + c), values); };

  Part part;
  const auto take = [&](int begin, int end) {
    for (int c = begin + static_cast<int>(threadIdx.x); c < end; c += kKeepThreads) {
      float values[V];
      load(c, values);
      if (c < full) {
        Take(values, c * V, V, part);
      } else {
        Take(values, c * V, classes - c * V, part);
      }
    }
  };
  __pipeline_wait_prior(1);
  take(0, min(half, used));
  __pipeline_wait_prior(0);
  take(half, used);
  part = RowPart<kKeepThreads>(part);  // (its barrier: everybody has read the label's logit)
  const float total = part.largest == INFINITY ? NAN : part.total;  // as in Rows
  if (threadIdx.x == 0) results[row] = Result(part, total, label_logit, label);

  T* const dz = static_cast<T*>(args.dlogits) + row * columns;
  const float share = args.scale / total;
  for (int c = threadIdx.x; c < vectors; c += kKeepThreads) {
    float values[V] = {};
    if (c < used) load(c, values);
    if (c < full && c != label / V) {
#pragma unroll
      for (int i = 0; i < V; ++i) values[i] = Exp(values[i] - part.largest) * share;
    } else {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float gradient = Exp(values[i] - part.largest) * share - (c * V + i == label ? args.scale : 0.0f);
        values[i] = c * V + i < classes ? gradient : 0.0f;
      }
    }
    StoreVector(values, dz + c * V);
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

// Two blocks with a row each fit a multiprocessor of an H100 or A100.
constexpr std::size_t kMostKept = 110 << 10;

template <typename T>
cudaError_t StartRows(cudaStream_t stream, const CrossEntropy& args, RowResult* results) {
  constexpr int kRowsPerBlock = 8, kBlock = 512;
  const auto rows = static_cast<std::size_t>(args.rows);
  if (args.columns <= 1024) {
    Rows<kWarp, 1, T><<<CeilDiv(rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, stream>>>(args, results);
  } else if (args.columns % kVector<T> == 0 && Aligned16(args.logits, args.dlogits)) {
    const std::size_t bytes = static_cast<std::size_t>(args.columns) * sizeof(T);
    int device = 0, most = 0;
    if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
    if (const cudaError_t error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
        error != cudaSuccess) {
      return error;
    }
    const std::size_t room = std::min(kMostKept, static_cast<std::size_t>(most) - 1024);
    if (args.dlogits != nullptr && bytes <= room) {
      auto* const kernel = KeptRows<T>;
      // More than 48 KB of shared memory must be asked for. Always the same: other threads launch this kernel, too, and
      // a limit below what one of them needs would fail its launch.
      if (const cudaError_t error =
              cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(room));
          error != cudaSuccess) {
        return error;
      }
      kernel<<<static_cast<unsigned>(rows), kKeepThreads, bytes, stream>>>(args, results);
    } else {
      Rows<kBlock, kVector<T>, T><<<static_cast<unsigned>(rows), kBlock, 0, stream>>>(args, results);
    }
  } else {
    Rows<kBlock, 1, T><<<static_cast<unsigned>(rows), kBlock, 0, stream>>>(args, results);
  }
  return cudaGetLastError();
}

}  // namespace

std::int64_t CrossEntropyRows(std::size_t workspace_bytes) {
  return static_cast<std::int64_t>(workspace_bytes / sizeof(RowResult));
}

cudaError_t SoftmaxCrossEntropy(cudaStream_t stream, const CrossEntropy& args, void* workspace) {
  auto* const results = static_cast<RowResult*>(workspace);
  const cudaError_t error =
      args.bf16 ? StartRows<Bf16>(stream, args, results) : StartRows<float>(stream, args, results);
  if (error != cudaSuccess) return error;
  Sum<<<1, kSumThreads, 0, stream>>>(args, results);
  return cudaGetLastError();
}

}  // namespace leeway::cuda
