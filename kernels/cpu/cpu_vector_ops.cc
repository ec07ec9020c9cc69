#include "kernels/cpu/cpu_vector_ops.h"

#include <algorithm>

#include "kernels/cpu/cpu_stream.h"
#include "kernels/encodings/bf16.h"
#include "kernels/encodings/int8.h"
#include "kernels/encodings/top_k.h"

namespace leeway {
namespace {

template <typename Work>
void Run(Stream& stream, const char* op, Work work) {
  static_cast<CpuStream&>(stream).Run(op, [&] {
    work();
    return absl::OkStatus();
  });
}

// weight = update(weight, gradient, i) of every element.
template <typename Update>
void ForEach(Stream& stream, const DeviceStep& step, Update update) {
  Run(stream, "optimizer step", [&] {
    float* const weights = step.weights.address();
    const float* const gradient = step.gradient.address();
    for (std::size_t i = 0; i < step.count; ++i) weights[i] = update(weights[i], gradient[i], i);
  });
}

}  // namespace

void CpuVectorOps::Step(Stream& stream, const SgdRule& rule, const DeviceStep& step) {
  ForEach(stream, step, [&](float w, float g, std::size_t) { return rule(w, g); });
}

void CpuVectorOps::Step(Stream& stream, const MomentumRule& rule, bool nesterov, const DeviceStep& step) {
  float* const buffer = step.slots[0].address();
  ForEach(stream, step, [&](float w, float g, std::size_t i) {
    return nesterov ? rule.Nesterov(w, g, buffer[i]) : rule.Plain(w, g, buffer[i]);
  });
}

void CpuVectorOps::Step(Stream& stream, const AdagradRule& rule, const DeviceStep& step) {
  float* const sum = step.slots[0].address();
  ForEach(stream, step, [&](float w, float g, std::size_t i) { return rule(w, g, sum[i]); });
}

void CpuVectorOps::Step(Stream& stream, const RmspropRule& rule, const DeviceStep& step) {
  float* const square = step.slots[0].address();
  ForEach(stream, step, [&](float w, float g, std::size_t i) { return rule(w, g, square[i]); });
}

void CpuVectorOps::Step(Stream& stream, const AdamRule& rule, const DeviceStep& step) {
  float* const first = step.slots[0].address();
  float* const second = step.slots[1].address();
  ForEach(stream, step, [&](float w, float g, std::size_t i) { return rule(w, g, first[i], second[i]); });
}

void CpuVectorOps::EncodeBf16(Stream& stream, std::size_t count, DevicePtr<float> values, bool residual,
                              DevicePtr<std::uint16_t> out) {
  Run(stream, "encode bf16", [&] {
    char* const bytes = reinterpret_cast<char*>(out.address());
    if (residual) {
      EncodeBf16Residual(values.address(), count, bytes);
    } else {
      leeway::EncodeBf16(values.address(), count, bytes);
    }
  });
}

void CpuVectorOps::DecodeBf16(Stream& stream, std::size_t count, DevicePtr<const std::uint16_t> values,
                              DevicePtr<float> out) {
  Run(stream, "decode bf16",
      [&] { leeway::DecodeBf16(reinterpret_cast<const char*>(values.address()), count, out.address()); });
}

void CpuVectorOps::EncodeInt8(Stream& stream, const EncodedBlocks& blocks, DevicePtr<float> values, bool residual,
                              DevicePtr<float> scales, DevicePtr<std::int8_t> out) {
  Run(stream, "encode int8", [&] {
    for (std::size_t b = 0; b < blocks.blocks(); ++b) {
      const std::size_t first = b * blocks.block, size = std::min(blocks.block, blocks.count - first);
      float* const from = values.address() + first;
      char* const bytes = reinterpret_cast<char*>(out.address() + first);
      const float scale = Int8Scale(from, size);
      scales.address()[b] = scale;
      if (residual) {
        EncodeInt8Residual(from, size, scale, bytes);
      } else {
        leeway::EncodeInt8(from, size, scale, bytes);
      }
    }
  });
}

void CpuVectorOps::SelectTopK(Stream& stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                              DevicePtr<const float> values, DevicePtr<std::uint32_t> indices, DevicePtr<float> out) {
  Run(stream, "select top-k", [&] {
    for (std::size_t b = 0; b < blocks.blocks(); ++b) {
      const std::size_t first = b * blocks.block, size = std::min(blocks.block, blocks.count - first);
      leeway::SelectTopK(values.address() + first, size, b + 1 == blocks.blocks() ? last_kept : kept,
                         reinterpret_cast<char*>(indices.address() + b * kept),
                         reinterpret_cast<char*>(out.address() + b * kept));
    }
  });
}

}  // namespace leeway
