// Loads and stores of 16 bytes of float32 or bfloat16 as float32, for the .cu files.
//
// For nvcc only. Thread safety: none needed.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace leeway::cuda {

using Bf16 = __nv_bfloat16;

__device__ inline float Load(const float* x) { return *x; }
__device__ inline float Load(const Bf16* x) { return __bfloat162float(*x); }
// To nearest, ties to even; NaN stays NaN.
__device__ inline void Store(float value, float* x) { *x = value; }
__device__ inline void Store(float value, Bf16* x) { *x = __float2bfloat16_rn(value); }

// How many elements are 16 bytes.
template <typename T>
inline constexpr int kVector = 16 / sizeof(T);

__device__ inline void LoadVector(const float* x, float (&out)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(x);
  out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
}
__device__ inline void LoadVector(const Bf16* x, float (&out)[8]) {
  const uint4 v = *reinterpret_cast<const uint4*>(x);
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = __uint_as_float(words[i] << 16);
    out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

// Two numbers as bfloat16 in one word, the first in its lower half.
__device__ inline unsigned Pack(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const unsigned*>(&pair);
}

__device__ inline void StoreVector(const float (&values)[4], float* x) {
  *reinterpret_cast<float4*>(x) = {values[0], values[1], values[2], values[3]};
}
__device__ inline void StoreVector(const float (&values)[8], Bf16* x) {
  *reinterpret_cast<uint4*>(x) = {Pack(values[0], values[1]), Pack(values[2], values[3]), Pack(values[4], values[5]),
                                  Pack(values[6], values[7])};
}

}  // namespace leeway::cuda
