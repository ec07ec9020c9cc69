// What the .cu files share: grids, and sums over a block in a fixed order.
//
// Invariant: sums depend on the sizes alone, never on which block or warp comes first, so that results are the same
// bits in every run. For nvcc only. Thread safety: none needed.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace leeway::cuda {

inline constexpr int kWarp = 32;

inline unsigned CeilDiv(std::size_t count, std::size_t piece) {
  return static_cast<unsigned>((count + piece - 1) / piece);
}

inline bool Aligned16(const void* a) { return reinterpret_cast<std::uintptr_t>(a) % 16 == 0; }
template <typename... Rest>
bool Aligned16(const void* a, const Rest*... rest) {
  return Aligned16(a) && Aligned16(rest...);
}

template <typename T, typename Combine>
__device__ T WarpCombine(T value, Combine combine) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  }
  return value;
}

struct Plus {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
// A NaN loses against a number, as with fmaxf.
struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Smaller {
  __device__ long long operator()(long long a, long long b) const { return a < b ? a : b; }
};

template <typename T>
__device__ T WarpSum(T value) {
  return WarpCombine(value, Plus());
}

// Over a block of kThreads, whole warps; every thread gets the result. Begins with a barrier, so that calls may follow
// each other.
template <int kThreads, typename T, typename Combine>
__device__ T BlockCombine(T value, T identity, Combine combine) {
  static_assert(kThreads % kWarp == 0 && kThreads <= 1024);
  __shared__ T warps[kWarp];
  value = WarpCombine(value, combine);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = threadIdx.x % kWarp < kThreads / kWarp ? warps[threadIdx.x % kWarp] : identity;
  return WarpCombine(value, combine);
}

template <int kThreads, typename T>
__device__ T BlockSum(T value) {
  return BlockCombine<kThreads>(value, T(0), Plus());
}

}  // namespace leeway::cuda
