// VectorOps: optimizer steps and encodings on device memory, enqueued on a Stream. A Backend hands it out beside its
// Ops (Backend::vector_ops()). Each gives the bits of its counterpart in kernels/optimizers or kernels/encodings, whose
// headers define it, on every backend.
//
// Sizes may be 0. Pointers are aligned to their elements. What an op reads must not overlap what it writes, except
// where one pointer is both.
//
// Thread safety: as Ops: several threads, each with a stream of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/encoded_blocks.h"
#include "kernels/optimizers/adagrad.h"
#include "kernels/optimizers/adam.h"
#include "kernels/optimizers/ftrl.h"
#include "kernels/optimizers/momentum.h"
#include "kernels/optimizers/rmsprop.h"
#include "kernels/optimizers/sgd.h"

namespace leeway {

// What an optimizer's step works on: `count` weights, their gradient, and the slots that the rule has.
struct DeviceStep {
  std::size_t count = 0;
  DevicePtr<const float> gradient;
  DevicePtr<float> weights;
  DevicePtr<float> slots[2] = {};
};

class VectorOps {
 public:
  virtual ~VectorOps() = default;

  // The rules of one step: Sgd::Rule and so on make them.
  virtual void Step(Stream& stream, const SgdRule& rule, const DeviceStep& step) = 0;
  virtual void Step(Stream& stream, const MomentumRule& rule, bool nesterov, const DeviceStep& step) = 0;
  virtual void Step(Stream& stream, const AdagradRule& rule, const DeviceStep& step) = 0;
  virtual void Step(Stream& stream, const RmspropRule& rule, const DeviceStep& step) = 0;
  virtual void Step(Stream& stream, const AdamRule& rule, const DeviceStep& step) = 0;
  virtual void Step(Stream& stream, const FtrlRule& rule, const DeviceStep& step) = 0;

  // kernels/encodings/bf16.h: out[count]. `residual`: what was written is taken off the values.
  virtual void EncodeBf16(Stream& stream, std::size_t count, DevicePtr<float> values, bool residual,
                          DevicePtr<std::uint16_t> out) = 0;
  // out[count]. Exact.
  virtual void DecodeBf16(Stream& stream, std::size_t count, DevicePtr<const std::uint16_t> values,
                          DevicePtr<float> out) = 0;
  // The bytes that EncodeBlock (kernels/encodings/encoding.h) writes of each block, one block after the other: of int8
  // a scale and the values, of top-k a count, indices within the block (ascending) and values; `kept` values of each
  // block, `last_kept` of the one that ends the vector.
  //
  // `residual` null: of `values`, which are finite. Else of the sums residual + values (both whole vectors), and what
  // the bytes leave out of the sums becomes the residual. A block with a sum that is NaN, or not below kEncodableLimit
  // (kernels/encodings/residual.h), says NaN: its scale (the values are 0), or the first of its values (at the indices
  // 0, 1, ..., the others are 0). Its residual stays as it is; with top-k to the rounding of that sum, each r being
  // (r + value) - value then, unless one of the sums r + value and r + 2 value is too great. `out` lies at a multiple
  // of 4 bytes.
  virtual void EncodeInt8(Stream& stream, const EncodedBlocks& blocks, DevicePtr<const float> values,
                          DevicePtr<float> residual, DevicePtr<char> out) = 0;
  virtual void EncodeTopK(Stream& stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                          DevicePtr<const float> values, DevicePtr<float> residual, DevicePtr<char> out) = 0;
};

}  // namespace leeway
