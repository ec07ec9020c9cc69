#include "kernels/cuda/encode_bf16.h"
#include "kernels/cuda/launch.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;

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

}  // namespace leeway::cuda
