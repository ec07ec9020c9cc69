#include <algorithm>

#include "kernels/cuda/encode.h"
#include "kernels/cuda/launch.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlockThreads = 1024;  // of kernels in which one block of threads has one block of the vector

// As kernels/encodings/bf16.cc: what is finite stays finite.
__device__ unsigned RoundToBf16(float value) {
  const unsigned bits = __float_as_uint(value), magnitude = bits & 0x7fffffffu;
  const unsigned rounded = (magnitude + 0x7fffu + ((magnitude >> 16) & 1u)) & 0xffff0000u;
  const unsigned special = magnitude > 0x7f800000u ? (magnitude | 0x00400000u) & 0xffff0000u : 0x7f800000u;
  return (bits & 0x80000000u) | (magnitude < 0x7f800000u ? min(rounded, 0x7f7f0000u) : special);
}

template <bool kResidual, bool kVectors>
__global__ void Bf16(std::size_t count, float* values, std::uint16_t* out) {
  const std::size_t at = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * 8;
  if (kVectors && at + 8 <= count) {
    float4 v[2];
    unsigned words[4];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      v[k] = *reinterpret_cast<const float4*>(values + at + 4 * k);
      const unsigned a = RoundToBf16(v[k].x), b = RoundToBf16(v[k].y), c = RoundToBf16(v[k].z), d = RoundToBf16(v[k].w);
      words[2 * k] = (a >> 16) | b;
      words[2 * k + 1] = (c >> 16) | d;
      if constexpr (kResidual) {
        *reinterpret_cast<float4*>(values + at + 4 * k) = {v[k].x - __uint_as_float(a), v[k].y - __uint_as_float(b),
                                                           v[k].z - __uint_as_float(c), v[k].w - __uint_as_float(d)};
      }
    }
    *reinterpret_cast<uint4*>(out + at) = {words[0], words[1], words[2], words[3]};
    return;
  }
  for (std::size_t i = at; i < count && i < at + 8; ++i) {
    const unsigned bits = RoundToBf16(values[i]);
    out[i] = static_cast<std::uint16_t>(bits >> 16);
    if constexpr (kResidual) values[i] -= __uint_as_float(bits);
  }
}

template <bool kVectors>
__global__ void Wide(std::size_t count, const std::uint16_t* values, float* out) {
  const std::size_t at = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * 8;
  if (kVectors && at + 8 <= count) {
    const uint4 v = *reinterpret_cast<const uint4*>(values + at);
    *reinterpret_cast<uint4*>(out + at) = {v.x << 16, v.x & 0xffff0000u, v.y << 16, v.y & 0xffff0000u};
    *reinterpret_cast<uint4*>(out + at + 4) = {v.z << 16, v.z & 0xffff0000u, v.w << 16, v.w & 0xffff0000u};
    return;
  }
  for (std::size_t i = at; i < count && i < at + 8; ++i) {
    out[i] = __uint_as_float(static_cast<unsigned>(values[i]) << 16);
  }
}

// As kernels/encodings/int8.cc.
constexpr float kLeastScale = 1.17549435e-38f;
constexpr float kGreatestScale = 0x1.020406p+121f;
constexpr float kRounder = 12582912.0f;

struct Greater {
  __device__ unsigned operator()(unsigned a, unsigned b) const { return max(a, b); }
};

__device__ std::int8_t ToInt8(float& value, float scale, bool residual) {
  if (scale == 0) return 0;
  const float sum = value / scale + kRounder;
  if (residual) value -= scale * (sum - kRounder);
  return static_cast<std::int8_t>(static_cast<unsigned char>(__float_as_uint(sum)));
}

// One block of threads has one block of the vector, which it reads twice: for its scale, and to encode it. The first
// `kept` values (a multiple of 4) stay in shared memory between the two.
template <bool kVectors>
__global__ void __launch_bounds__(kBlockThreads) Int8(std::size_t count, std::size_t block, std::size_t kept,
                                                      float* values, bool residual, float* scales, std::int8_t* out) {
  extern __shared__ uint4 keep[];
  const std::size_t first = blockIdx.x * block, size = min(block, count - first);
  float* const from = values + first;
  std::int8_t* const to = out + first;
  unsigned greatest = 0;
  if constexpr (kVectors) {
#pragma unroll 4
    for (std::size_t i = threadIdx.x * 4; i < size; i += kBlockThreads * 4) {
      const uint4 v = *reinterpret_cast<const uint4*>(from + i);
      if (i < kept) keep[i / 4] = v;
      greatest =
          max(max(max(greatest, v.x & 0x7fffffffu), v.y & 0x7fffffffu), max(v.z & 0x7fffffffu, v.w & 0x7fffffffu));
    }
  } else {
    for (std::size_t i = threadIdx.x; i < size; i += kBlockThreads) {
      greatest = max(greatest, __float_as_uint(from[i]) & 0x7fffffffu);
    }
  }
  greatest = BlockCombine<kBlockThreads>(greatest, 0u, Greater());
  const float scale = greatest == 0 ? 0.0f : fminf(fmaxf(__uint_as_float(greatest) / 127, kLeastScale), kGreatestScale);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  if constexpr (kVectors) {
#pragma unroll 4
    for (std::size_t i = threadIdx.x * 4; i < size; i += kBlockThreads * 4) {
      const uint4 bits = i < kept ? keep[i / 4] : *reinterpret_cast<const uint4*>(from + i);
      float4 v = {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z), __uint_as_float(bits.w)};
      const char4 bytes = {ToInt8(v.x, scale, residual), ToInt8(v.y, scale, residual), ToInt8(v.z, scale, residual),
                           ToInt8(v.w, scale, residual)};
      *reinterpret_cast<char4*>(to + i) = bytes;
      if (residual) *reinterpret_cast<float4*>(from + i) = v;
    }
  } else {
    for (std::size_t i = threadIdx.x; i < size; i += kBlockThreads) {
      float value = from[i];
      to[i] = ToInt8(value, scale, residual);
      if (residual) from[i] = value;
    }
  }
}

// Two blocks of threads fit a multiprocessor of an H100: while one reads, the other writes.
constexpr std::size_t kMostKept = 100 << 10;

// The magnitude that is the `kept`-th greatest is found bit group by bit group, from the highest: 31 bits as 8 + 8 + 8
// +
// 7. Then the block's values are looked through in order: those above the threshold are kept, and of those equal to it
// the first ones.
__global__ void __launch_bounds__(kBlockThreads)
    TopK(std::size_t count, std::size_t block, std::size_t kept_each, std::size_t last_kept, const float* values,
         std::uint32_t* all_indices, float* all_out) {
  __shared__ unsigned counts[256];
  __shared__ unsigned chosen[2];  // the threshold's next bits, and how many values are above it
  __shared__ unsigned warps[2][kBlockThreads / kWarp];
  const std::size_t first = blockIdx.x * block, size = min(block, count - first);
  const unsigned kept = static_cast<unsigned>(blockIdx.x + 1 == gridDim.x ? last_kept : kept_each);
  if (kept == 0) return;
  const float* const from = values + first;
  std::uint32_t* const indices = all_indices + blockIdx.x * kept_each;
  float* const out = all_out + blockIdx.x * kept_each;

  unsigned threshold = 0, known = 0, wanted = kept;  // wanted: of the values that share the known bits
  for (int shift = 23; shift >= 0; shift = shift == 7 ? 0 : shift - 8) {
    const unsigned digits = shift == 0 ? 127u : 255u;
    for (unsigned i = threadIdx.x; i < 256; i += kBlockThreads) counts[i] = 0;
    __syncthreads();
    for (std::size_t i = threadIdx.x; i < size; i += kBlockThreads) {
      const unsigned magnitude = __float_as_uint(from[i]) & 0x7fffffffu;
      if ((magnitude & known) == threshold) atomicAdd(&counts[(magnitude >> shift) & digits], 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned digit = digits, above = 0;
      while (above + counts[digit] < wanted) above += counts[digit--];
      chosen[0] = digit;
      chosen[1] = above;
    }
    __syncthreads();
    threshold |= chosen[0] << shift;
    known |= digits << shift;
    wanted -= chosen[1];
    __syncthreads();
  }

  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, lower = (1u << lane) - 1;
  unsigned written = 0, ties = 0;  // so far; ties whether kept or not
  for (std::size_t begin = 0; begin < size; begin += kBlockThreads) {
    const std::size_t i = begin + threadIdx.x;
    const float value = i < size ? from[i] : 0.0f;
    const unsigned magnitude = __float_as_uint(value) & 0x7fffffffu;
    const bool tie = i < size && magnitude == threshold, above = i < size && magnitude > threshold;
    const unsigned tie_votes = __ballot_sync(0xffffffffu, tie), above_votes = __ballot_sync(0xffffffffu, above);
    if (lane == 0) {
      warps[0][warp] = __popc(tie_votes);
      warps[1][warp] = __popc(above_votes);
    }
    __syncthreads();
    unsigned ties_before = ties, above_before = 0, all_ties = 0, all_above = 0;
    for (unsigned w = 0; w < kBlockThreads / kWarp; ++w) {
      if (w < warp) ties_before += warps[0][w], above_before += warps[1][w];
      all_ties += warps[0][w];
      all_above += warps[1][w];
    }
    ties_before += __popc(tie_votes & lower);
    above_before += __popc(above_votes & lower);
    // Before this value lie above_before values above the threshold and ties_before - ties new ties, of which those are
    // kept that come before number `wanted`.
    const unsigned kept_ties_before = min(ties_before, wanted) - min(ties, wanted);
    if (above || (tie && ties_before < wanted)) {
      const unsigned at = written + above_before + kept_ties_before;
      indices[at] = static_cast<std::uint32_t>(i);
      out[at] = value;
    }
    written += all_above + min(ties + all_ties, wanted) - min(ties, wanted);
    ties += all_ties;
    __syncthreads();
  }
}

}  // namespace

cudaError_t EncodeBf16(cudaStream_t stream, std::size_t count, float* values, bool residual, std::uint16_t* out) {
  if (count == 0) return cudaSuccess;
  const unsigned blocks = CeilDiv(count, std::size_t{8} * kThreads);
  if (Aligned16(values, out)) {
    residual ? Bf16<true, true><<<blocks, kThreads, 0, stream>>>(count, values, out)
             : Bf16<false, true><<<blocks, kThreads, 0, stream>>>(count, values, out);
  } else {
    residual ? Bf16<true, false><<<blocks, kThreads, 0, stream>>>(count, values, out)
             : Bf16<false, false><<<blocks, kThreads, 0, stream>>>(count, values, out);
  }
  return cudaGetLastError();
}

cudaError_t DecodeBf16(cudaStream_t stream, std::size_t count, const std::uint16_t* values, float* out) {
  if (count == 0) return cudaSuccess;
  const unsigned blocks = CeilDiv(count, std::size_t{8} * kThreads);
  if (Aligned16(values, out)) {
    Wide<true><<<blocks, kThreads, 0, stream>>>(count, values, out);
  } else {
    Wide<false><<<blocks, kThreads, 0, stream>>>(count, values, out);
  }
  return cudaGetLastError();
}

cudaError_t EncodeInt8(cudaStream_t stream, std::size_t count, std::size_t block, float* values, bool residual,
                       float* scales, std::int8_t* out) {
  if (count == 0) return cudaSuccess;
  const unsigned blocks = CeilDiv(count, block);
  if (block % 4 == 0 && count % 4 == 0 && Aligned16(values, out)) {
    int device = 0, most = 0;
    if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
    if (const cudaError_t error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
        error != cudaSuccess) {
      return error;
    }
    const std::size_t room = std::min(kMostKept, static_cast<std::size_t>(most) / 2);
    const std::size_t kept = std::min(block, room / 16 * 4), bytes = kept * sizeof(float);
    // More than 48 KB of shared memory must be asked for.
    if (const cudaError_t error =
            cudaFuncSetAttribute(Int8<true>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
        error != cudaSuccess) {
      return error;
    }
    Int8<true><<<blocks, kBlockThreads, bytes, stream>>>(count, block, kept, values, residual, scales, out);
  } else {
    Int8<false><<<blocks, kBlockThreads, 0, stream>>>(count, block, 0, values, residual, scales, out);
  }
  return cudaGetLastError();
}

cudaError_t SelectTopK(cudaStream_t stream, std::size_t count, std::size_t block, std::size_t kept,
                       std::size_t last_kept, const float* values, std::uint32_t* indices, float* out) {
  if (count == 0) return cudaSuccess;
  TopK<<<CeilDiv(count, block), kBlockThreads, 0, stream>>>(count, block, kept, last_kept, values, indices, out);
  return cudaGetLastError();
}

}  // namespace leeway::cuda
