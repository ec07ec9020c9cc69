#include <cooperative_groups.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/block_sums.h"
#include "kernels/cuda/encode_int8.h"

namespace leeway::cuda {
namespace {

constexpr std::size_t kWord = 4;  // bytes of a scale

// As kernels/encodings/int8.cc.
constexpr float kLeastScale = 1.17549435e-38f;
constexpr float kGreatestScale = 0x1.020406p+121f;
constexpr float kRounder = 12582912.0f;

constexpr unsigned kNan = 0x7fc00000u;

// How one block's values become bytes.
struct Quantizer {
  float scale, inverse;

  // Of `value` becomes what the byte leaves out of it.
  __device__ unsigned char Byte(float& value) const {
    if (scale == 0) return 0;
    const float sum = Quotient(value) + kRounder;
    value -= scale * (sum - kRounder);
    return static_cast<unsigned char>(__float_as_uint(sum));
  }

  // value / scale to the last bit, in half the instructions: the inverse is the nearest one, the first correction
  // brings the quotient to within one unit in its last place, the second rounds it rightly (Markstein 1990). Remainders
  // are exact while scales are not near the ends of the range; and what is far below a scale rounds to 0 either way.
  __device__ float Quotient(float value) const {
    if (inverse == 0) return value / scale;
    float q = value * inverse;
    q = __fmaf_rn(__fmaf_rn(-scale, q, value), inverse, q);
    return __fmaf_rn(__fmaf_rn(-scale, q, value), inverse, q);
  }
};

// `greatest`: the bits of the block's greatest magnitude.
__device__ Quantizer QuantizerFor(unsigned greatest) {
  if (greatest == 0) return {0, 0};
  const float scale = fminf(fmaxf(__uint_as_float(greatest) / 127, kLeastScale), kGreatestScale);
  return {scale, scale >= 0x1p-60f && scale <= 0x1p100f ? 1 / scale : 0.0f};
}

[[maybe_unused]] __device__ unsigned Greatest(const float4& v, unsigned greatest) {
  return max(max(max(greatest, Magnitude(v.x)), Magnitude(v.y)), max(Magnitude(v.z), Magnitude(v.w)));
}

// --- A cluster of thread blocks has one block of the vector and reads it once --------------------------------------

constexpr unsigned kThreads = 512;
constexpr unsigned kHeld = 8;                      // fours of values that a thread has in registers
constexpr unsigned kStep = kThreads * 4;           // values between two of them
constexpr unsigned kPart = kHeld * kStep;          // values of a thread block; with kKeep twice as many,
constexpr unsigned kKept = kPart * sizeof(float);  // half of them in so many bytes of shared memory
constexpr std::size_t kMostBlocks = 8;             // of a cluster, on every GPU that has clusters

template <bool kResidual, bool kKeep>
__global__ void __launch_bounds__(kThreads, 2)
    InCluster(EncodedBlocks blocks, const float* values, float* residual, char* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  const cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
  const unsigned i = blockIdx.x / cluster.num_blocks();
  const BlockSums<kResidual> sums(blocks, i, values, residual, true);
  const unsigned size = sums.size();
  const unsigned first = cluster.block_rank() * (kKeep ? 2 * kPart : kPart), at = first + threadIdx.x * 4;
  const bool full = first + (kKeep ? 2 * kPart : kPart) <= size;  // the vector does not end in this part

  float4 held[kHeld];
  extern __shared__ float4 kept[];  // [kHeld][kThreads], each thread's own
  unsigned greatest = 0;
  if (full) {
#pragma unroll
    for (unsigned k = 0; k < kHeld; ++k) held[k] = sums.Four(at + k * kStep);
    if constexpr (kKeep) {
#pragma unroll 4
      for (unsigned k = 0; k < kHeld; ++k) kept[k * kThreads + threadIdx.x] = sums.Four(at + kPart + k * kStep);
    }
  } else {
#pragma unroll
    for (unsigned k = 0; k < kHeld; ++k) held[k] = sums.FourOrLess(at + k * kStep);
    if constexpr (kKeep) {
#pragma unroll 1
      for (unsigned k = 0; k < kHeld; ++k) kept[k * kThreads + threadIdx.x] = sums.FourOrLess(at + kPart + k * kStep);
    }
  }
#pragma unroll
  for (unsigned k = 0; k < kHeld; ++k) greatest = Greatest(held[k], greatest);
  if constexpr (kKeep) {
#pragma unroll
    for (unsigned k = 0; k < kHeld; ++k) greatest = Greatest(kept[k * kThreads + threadIdx.x], greatest);
  }

  __shared__ unsigned own;
  greatest = BlockCombine<kThreads>(greatest, 0u, Greater());
  if (threadIdx.x == 0) own = greatest;
  cluster.sync();
  for (unsigned rank = 0; rank < cluster.num_blocks(); ++rank) {
    greatest = max(greatest, *cluster.map_shared_rank(&own, rank));
  }
  cluster.barrier_arrive();  // nobody leaves while others read its `own`

  char* const to = out + i * (kWord + blocks.block);
  char* const bytes = to + kWord;
  const bool bad = kResidual && TooGreat(greatest);
  const Quantizer quantizer = QuantizerFor(bad ? 0 : greatest);
  if (first == 0 && threadIdx.x == 0) *reinterpret_cast<float*>(to) = bad ? __uint_as_float(kNan) : quantizer.scale;
  const auto write = [&](unsigned place, float4 v) {
    const unsigned bits[4] = {quantizer.Byte(v.x), quantizer.Byte(v.y), quantizer.Byte(v.z), quantizer.Byte(v.w)};
    const unsigned word = bits[0] | (bits[1] << 8) | (bits[2] << 16) | (bits[3] << 24);
    if (place + 4 <= size) {
      *reinterpret_cast<unsigned*>(bytes + place) = word;
      if constexpr (kResidual) {
        if (!bad) sums.SetFour(place, v);
      }
      return;
    }
    for (unsigned k = 0; k < 4 && place + k < size; ++k) bytes[place + k] = static_cast<char>(word >> (8 * k));
    if constexpr (kResidual) {
      if (!bad) sums.SetFourOrLess(place, v);
    }
  };
#pragma unroll
  for (unsigned k = 0; k < kHeld; ++k) write(at + k * kStep, held[k]);
  if constexpr (kKeep) {
#pragma unroll 2
    for (unsigned k = 0; k < kHeld; ++k) write(at + kPart + k * kStep, kept[k * kThreads + threadIdx.x]);
  }
  cluster.barrier_wait();
#endif
}

template <bool kResidual, bool kKeep>
cudaError_t StartInCluster(cudaStream_t stream, std::size_t size, const EncodedBlocks& blocks, const float* values,
                           float* residual, char* out) {
  auto* const kernel = InCluster<kResidual, kKeep>;
  const unsigned bytes = kKeep ? kKept : 0;
  // More than 48 KB of shared memory must be asked for.
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
      error != cudaSuccess) {
    return error;
  }
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(size), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = static_cast<unsigned>(blocks.blocks * size);
  config.blockDim = kThreads;
  config.dynamicSmemBytes = bytes;
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, blocks, values, residual, out);
}

// The least power of two that many parts fit.
std::size_t ClusterSize(std::size_t parts) {
  std::size_t size = 1;
  while (size < parts) size *= 2;
  return size;
}

template <bool kResidual>
cudaError_t StartInCluster(cudaStream_t stream, const EncodedBlocks& blocks, const float* values, float* residual,
                           char* out) {
  const std::size_t part = blocks.block <= kMostBlocks * kPart ? std::size_t{kPart} : std::size_t{2 * kPart};
  const std::size_t size = ClusterSize(CeilDiv(std::min(blocks.block, blocks.count), part));
  return part == kPart ? StartInCluster<kResidual, false>(stream, size, blocks, values, residual, out)
                       : StartInCluster<kResidual, true>(stream, size, blocks, values, residual, out);
}

// --- One thread block has one block of the vector and reads it twice ------------------------------------------------

constexpr int kAloneThreads = 1024;

template <bool kResidual>
__global__ void __launch_bounds__(kAloneThreads)
    Alone(EncodedBlocks blocks, const float* values, float* residual, char* out) {
  const BlockSums<kResidual> sums(blocks, blockIdx.x, values, residual, false);
  unsigned greatest = 0;
#pragma unroll 4
  for (unsigned i = threadIdx.x; i < sums.size(); i += kAloneThreads) {
    greatest = max(greatest, Magnitude(sums.At(i)));
  }
  greatest = BlockCombine<kAloneThreads>(greatest, 0u, Greater());
  const bool bad = kResidual && TooGreat(greatest);
  const Quantizer quantizer = QuantizerFor(bad ? 0 : greatest);
  char* const to = out + blockIdx.x * (kWord + blocks.block);
  if (threadIdx.x < kWord) {  // `out` may lie anywhere
    const unsigned scale = bad ? kNan : __float_as_uint(quantizer.scale);
    to[threadIdx.x] = static_cast<char>(scale >> (8 * threadIdx.x));
  }
#pragma unroll 4
  for (unsigned i = threadIdx.x; i < sums.size(); i += kAloneThreads) {
    float value = sums.At(i);
    to[kWord + i] = static_cast<char>(quantizer.Byte(value));
    if constexpr (kResidual) {
      if (!bad) sums.SetResidual(i, value);
    }
  }
}

cudaError_t HasClusters(bool* has) {
  int device = 0, major = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  *has = major >= 9;
  return error;
}

}  // namespace

cudaError_t EncodeInt8(cudaStream_t stream, const EncodedBlocks& blocks, const float* values, float* residual,
                       char* out) {
  if (blocks.blocks == 0) return cudaSuccess;
  bool clusters = false;
  if (const cudaError_t error = HasClusters(&clusters); error != cudaSuccess) return error;
  if (clusters && blocks.block <= 2 * kMostBlocks * kPart && AlignedBlocks(blocks, values, residual) &&
      reinterpret_cast<std::uintptr_t>(out) % kWord == 0) {
    return residual != nullptr ? StartInCluster<true>(stream, blocks, values, residual, out)
                               : StartInCluster<false>(stream, blocks, values, residual, out);
  }
  const auto grid = static_cast<unsigned>(blocks.blocks);
  residual != nullptr ? Alone<true><<<grid, kAloneThreads, 0, stream>>>(blocks, values, residual, out)
                      : Alone<false><<<grid, kAloneThreads, 0, stream>>>(blocks, values, residual, out);
  return cudaGetLastError();
}

}  // namespace leeway::cuda
