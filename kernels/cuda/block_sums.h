// BlockSums: what is encoded of one block of a vector, its values or the sums residual + values, read where they lie.
//
// For nvcc only. Thread safety: none needed. Compile without fused multiply-adds. Invariant: a block has fewer than
// 2^32 values, so that places in it are 32 bits.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/cuda/launch.h"
#include "kernels/encoded_blocks.h"
#include "kernels/encodings/residual.h"

namespace leeway::cuda {

__device__ inline unsigned Magnitude(float value) { return __float_as_uint(value) & 0x7fffffffu; }

// Whether a block whose greatest magnitude is this has a sum that must not enter the residual (NaN's bits are greater).
__device__ inline bool TooGreat(unsigned magnitude) { return magnitude >= __float_as_uint(kEncodableLimit); }

struct Greater {
  __device__ unsigned operator()(unsigned a, unsigned b) const { return max(a, b); }
};

template <bool kResidual>
class BlockSums {
 public:
  // `aligned`: the whole vectors lie at multiples of 16 bytes, and so does every block.
  __device__ BlockSums(const EncodedBlocks& blocks, std::size_t i, const float* values, float* residual, bool aligned)
      : values_(values + blocks.Begin(i)),
        residual_(kResidual ? residual + blocks.Begin(i) : nullptr),
        size_(static_cast<unsigned>(blocks.Size(i))),
        aligned_(aligned) {}

  __device__ unsigned size() const { return size_; }

  __device__ float At(unsigned i) const { return kResidual ? residual_[i] + values_[i] : values_[i]; }
  __device__ void SetResidual(unsigned i, float value) const { residual_[i] = value; }

  // The residual gets the sums while they are looked at, except those that are too great: SetSums, of the `four` from i
  // on, the greatest magnitude of which is `greatest`. Then a sum is Sum(), no longer At(); and TakeBack() makes the
  // residual what it was, to the rounding of the addition.
  __device__ void SetSums(unsigned i, const float4& four, unsigned greatest) const {
    if (!TooGreat(greatest)) return SetFourOrLess(i, four);
    const float all[4] = {four.x, four.y, four.z, four.w};
    for (unsigned k = 0; k < 4; ++k) {
      if (i + k < size_ && !TooGreat(Magnitude(all[k]))) residual_[i + k] = all[k];
    }
  }
  __device__ float Sum(unsigned i) const { return kResidual ? residual_[i] : values_[i]; }
  __device__ void TakeBack(unsigned i) const {
    const float sum = residual_[i], value = values_[i];
    if (!TooGreat(Magnitude(sum + value))) residual_[i] = sum - value;
  }

  // Four of them, from i, a multiple of 4, on. These need alignment, and that all four are there.
  // (`further` is for the compiler: a constant costs nothing there.)
  __device__ float4 Four(unsigned i, std::size_t further = 0) const {
    float4 v = *reinterpret_cast<const float4*>(values_ + i + further);
    if constexpr (kResidual) {
      const float4 r = *reinterpret_cast<const float4*>(residual_ + i + further);
      v = {r.x + v.x, r.y + v.y, r.z + v.z, r.w + v.w};
    }
    return v;
  }
  __device__ void SetFour(unsigned i, const float4& v) const { *reinterpret_cast<float4*>(residual_ + i) = v; }

  // The same with neither: what lies beyond the block is read as 0 and not written.
  __device__ float4 FourOrLess(unsigned i) const {
    if (aligned_ && i + 4 <= size_) return Four(i);
    return {i < size_ ? At(i) : 0.0f, i + 1 < size_ ? At(i + 1) : 0.0f, i + 2 < size_ ? At(i + 2) : 0.0f,
            i + 3 < size_ ? At(i + 3) : 0.0f};
  }
  __device__ void SetFourOrLess(unsigned i, const float4& v) const {
    if (aligned_ && i + 4 <= size_) return SetFour(i, v);
    const float all[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (unsigned k = 0; k < 4; ++k) {
      if (i + k < size_) residual_[i + k] = all[k];
    }
  }

 private:
  const float* const values_;
  float* const residual_;
  const unsigned size_;
  const bool aligned_;
};

inline bool AlignedBlocks(const EncodedBlocks& blocks, const float* values, const float* residual) {
  return blocks.block % 4 == 0 && Aligned16(values, residual);
}

}  // namespace leeway::cuda
