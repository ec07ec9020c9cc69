#include "kernels/cpu/cpu_vector_ops.h"

#include <cstring>
#include <limits>
#include <optional>

#include "kernels/cpu/cpu_stream.h"
#include "kernels/encodings/bf16.h"
#include "kernels/encodings/int8.h"
#include "kernels/encodings/residual.h"
#include "kernels/encodings/top_k.h"

namespace leeway {
namespace {

template <typename Work>
void Run(Stream& stream, const char* op, Work work) {
  static_cast<CpuStream&>(stream).RunExactly(op, [&] {
    work();
    return absl::OkStatus();
  });
}

constexpr std::size_t kWord = 4;  // bytes of a float32, a count, an index
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// What is encoded of block `i`: its values, or the sums that now stand in the residual. Nothing: a sum is too large.
std::optional<const float*> Sums(const EncodedBlocks& blocks, std::size_t i, DevicePtr<const float> values,
                                 DevicePtr<float> residual) {
  const float* const from = values.address() + blocks.Begin(i);
  if (!residual) return from;
  float* const sums = residual.address() + blocks.Begin(i);
  if (!SumEncodable(sums, from, blocks.Size(i))) return std::nullopt;
  AddValues(from, blocks.Size(i), sums);
  return sums;
}

// What a GPU does to the residual of a block that it finds it cannot encode when it has added most of it.
void AddAndTakeBack(const float* values, std::size_t count, float* residual) {
  for (std::size_t i = 0; i < count; ++i) {
    const float sum = residual[i] + values[i];
    if (!Encodable(&sum, 1)) continue;
    const float twice = sum + values[i];
    residual[i] = Encodable(&twice, 1) ? sum - values[i] : sum;
  }
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

void CpuVectorOps::Step(Stream& stream, const FtrlRule& rule, const DeviceStep& step) {
  float* const z = step.slots[0].address();
  float* const n = step.slots[1].address();
  ForEach(stream, step, [&](float weight, float g, std::size_t i) { return rule(weight, g, z[i], n[i]); });
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

void CpuVectorOps::EncodeInt8(Stream& stream, const EncodedBlocks& blocks, DevicePtr<const float> values,
                              DevicePtr<float> residual, DevicePtr<char> out) {
  Run(stream, "encode int8", [&] {
    char* to = out.address();
    for (std::size_t i = 0; i < blocks.blocks; ++i) {
      const std::size_t size = blocks.Size(i);
      char* const bytes = to + kWord;
      float scale = kNan;
      if (const auto sums = Sums(blocks, i, values, residual)) {
        scale = Int8Scale(*sums, size);
        residual ? EncodeInt8Residual(residual.address() + blocks.Begin(i), size, scale, bytes)
                 : leeway::EncodeInt8(*sums, size, scale, bytes);
      } else {
        std::memset(bytes, 0, size);
      }
      std::memcpy(to, &scale, kWord);
      to = bytes + size;
    }
  });
}

void CpuVectorOps::EncodeTopK(Stream& stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                              DevicePtr<const float> values, DevicePtr<float> residual, DevicePtr<char> out) {
  Run(stream, "encode top-k", [&] {
    char* to = out.address();
    for (std::size_t i = 0; i < blocks.blocks; ++i) {
      const auto n = static_cast<std::uint32_t>(blocks.EndsVector(i) ? last_kept : kept);
      std::memcpy(to, &n, kWord);
      char* const indices = to + kWord;
      char* const chosen = indices + n * kWord;
      if (const auto sums = Sums(blocks, i, values, residual)) {
        SelectTopK(*sums, blocks.Size(i), n, indices, chosen);
        for (std::uint32_t k = 0, index; residual && k < n; ++k) {
          std::memcpy(&index, indices + k * kWord, kWord);
          residual.address()[blocks.Begin(i) + index] = 0;
        }
      } else {
        AddAndTakeBack(values.address() + blocks.Begin(i), blocks.Size(i), residual.address() + blocks.Begin(i));
        for (std::uint32_t k = 0; k < n; ++k) {
          const float value = k == 0 ? kNan : 0.0f;
          std::memcpy(indices + k * kWord, &k, kWord);
          std::memcpy(chosen + k * kWord, &value, kWord);
        }
      }
      to = chosen + n * kWord;
    }
  });
}

}  // namespace leeway
