// Parity of kernels/vector_ops.h: the bits of kernels/optimizers and kernels/encodings on the CPU.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/encodings/bf16.h"
#include "kernels/encodings/int8.h"
#include "kernels/encodings/top_k.h"
#include "tests/gpu/parity.h"
#include "tests/gpu/shapes.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;

Floats ToFloats(const Doubles& values) { return {values.begin(), values.end()}; }
Doubles ToDoubles(const Floats& values) { return {values.begin(), values.end()}; }

// One step by `optimizer` on the CPU and by `run` on the device, from weights and slots that are not zero.
template <typename Run>
void Step(Parity& parity, const char* name, std::int64_t size, bool shifted, const Optimizer& optimizer, Run run) {
  parity.Run(absl::StrCat(name, " step ", size), shifted, [&] {
    const Array gradient = parity.Random(size, 1), weights = parity.Random(size, 2);
    // Second moments are positive.
    const Array slots[2] = {parity.Random(size, 3, DataType::kF32, 0.1, 0.2),
                            parity.Random(size, 4, DataType::kF32, 0.1, 0.2)};
    Floats w = ToFloats(weights.values), g = ToFloats(gradient.values);
    Floats s = ToFloats(slots[0].values), t = ToFloats(slots[1].values);
    float* const host_slots[2] = {s.data(), t.data()};
    const StepArgs args{.weights = w.data(),
                        .gradient = g.data(),
                        .slots = host_slots,
                        .count = w.size(),
                        .rate = 0.01,
                        .weight_decay = 0.05,
                        .step = 7,
                        .gradient_scale = 0.75};
    run(args, DeviceStep{w.size(), gradient.floats(), weights.floats(), {slots[0].floats(), slots[1].floats()}});
    optimizer.Step(args);
    parity.ExpectExact(weights, ToDoubles(w));
    parity.ExpectExact(slots[0], ToDoubles(s));
    parity.ExpectExact(slots[1], ToDoubles(t));
  });
}

void Steps(Parity& parity, std::int64_t size, bool shifted) {
  VectorOps& ops = parity.backend().vector_ops();
  Stream& stream = parity.stream();
  Step(parity, "sgd", size, shifted, Sgd(),
       [&](const StepArgs& args, const DeviceStep& step) { ops.Step(stream, Sgd::Rule(args), step); });
  for (const bool nesterov : {false, true}) {
    const Momentum momentum(0.9, nesterov);
    Step(parity, nesterov ? "nesterov" : "momentum", size, shifted, momentum,
         [&](const StepArgs& args, const DeviceStep& step) { ops.Step(stream, momentum.Rule(args), nesterov, step); });
  }
  const Adagrad adagrad(1e-10);
  Step(parity, "adagrad", size, shifted, adagrad,
       [&](const StepArgs& args, const DeviceStep& step) { ops.Step(stream, adagrad.Rule(args), step); });
  const Rmsprop rmsprop(0.99, 1e-8);
  Step(parity, "rmsprop", size, shifted, rmsprop,
       [&](const StepArgs& args, const DeviceStep& step) { ops.Step(stream, rmsprop.Rule(args), step); });
  const Adam adam({0.9, 0.999, 1e-8});
  Step(parity, "adam", size, shifted, adam,
       [&](const StepArgs& args, const DeviceStep& step) { ops.Step(stream, adam.Rule(args), step); });
}

// Values of many sizes, some of them equal, some beyond bfloat16's range, zeros.
Doubles Varied(Parity& parity, std::int64_t size) {
  Doubles values = parity.Random(size, 9).values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i % 5 == 1) values[i] = std::ldexp(values[i], static_cast<int>(i % 90) - 45);
    if (i % 7 == 3) values[i] = std::round(values[i] * 4) / 4;
    if (i % 1001 == 500) values[i] = 3.4e38;
  }
  return values;
}

void Bf16(Parity& parity, std::int64_t size, bool shifted) {
  for (const bool residual : {false, true}) {
    parity.Run(absl::StrCat("encode bf16 ", residual ? "with residual " : "", size), shifted, [&] {
      const Array values = parity.Of(Varied(parity, size)), out = parity.Garbage(size, DataType::kBf16);
      Floats host = ToFloats(values.values);
      std::vector<char> bytes(host.size() * 2);
      residual ? EncodeBf16Residual(host.data(), host.size(), bytes.data())
               : EncodeBf16(host.data(), host.size(), bytes.data());
      Floats decoded(host.size());
      DecodeBf16(bytes.data(), host.size(), decoded.data());
      parity.backend().vector_ops().EncodeBf16(parity.stream(), host.size(), values.floats(), residual,
                                               out.as<std::uint16_t>());
      parity.ExpectExact(out, ToDoubles(decoded));
      parity.ExpectExact(values, ToDoubles(host));
    });
  }
}

void DecodedBf16(Parity& parity, std::int64_t size, bool shifted) {
  parity.Run(absl::StrCat("decode bf16 ", size), shifted, [&] {
    Doubles values = Varied(parity, size);
    values[0] = std::numeric_limits<double>::quiet_NaN();
    if (size > 2) values[2] = -std::numeric_limits<double>::infinity();
    const Array halves = parity.Of(values, DataType::kBf16), out = parity.Garbage(size);
    parity.backend().vector_ops().DecodeBf16(parity.stream(), values.size(), halves.as<const std::uint16_t>(),
                                             out.floats());
    parity.ExpectExact(out, halves.values);
  });
}

void Int8(Parity& parity, std::int64_t size, std::size_t block, bool shifted) {
  for (const bool residual : {false, true}) {
    parity.Run(absl::StrCat("encode int8 ", residual ? "with residual " : "", size, " by ", block), shifted, [&] {
      Doubles varied = Varied(parity, size);
      // The second block is zeros alone.
      for (std::size_t i = block; i < std::min(2 * block, varied.size()); ++i) varied[i] = 0;
      const Array values = parity.Of(varied);
      const EncodedBlocks blocks{varied.size(), block};
      const Array scales = parity.Garbage(static_cast<std::int64_t>(blocks.blocks()));
      const DeviceMemory out = parity.Upload(std::vector<std::int8_t>(varied.size(), 99));
      Floats host = ToFloats(values.values);
      std::vector<std::int8_t> bytes(host.size());
      Doubles host_scales;
      for (std::size_t first = 0; first < host.size(); first += block) {
        const std::size_t count = std::min(block, host.size() - first);
        const float scale = Int8Scale(&host[first], count);
        char* const to = reinterpret_cast<char*>(&bytes[first]);
        residual ? EncodeInt8Residual(&host[first], count, scale, to) : EncodeInt8(&host[first], count, scale, to);
        host_scales.push_back(scale);
      }
      parity.backend().vector_ops().EncodeInt8(parity.stream(), blocks, values.floats(), residual, scales.floats(),
                                               out.as<std::int8_t>());
      parity.ExpectExact(scales, host_scales);
      parity.Require(parity.Download<std::int8_t>(out) == bytes, "the bytes");
      parity.ExpectExact(values, ToDoubles(host));
    });
  }
}

void TopK(Parity& parity, std::int64_t size, std::size_t block, double fraction, bool shifted) {
  parity.Run(absl::StrCat("top-k ", size, " by ", block, ", ", fraction), shifted, [&] {
    const Array values = parity.Of(Varied(parity, size));
    const Floats host = ToFloats(values.values);
    const EncodedBlocks blocks{host.size(), block};
    const auto kept_of = [&](std::size_t count) {
      return static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(count)));
    };
    const std::size_t last = (blocks.blocks() - 1) * block, kept = kept_of(std::min(block, host.size()));
    const std::size_t last_kept = kept_of(host.size() - last), total = (blocks.blocks() - 1) * kept + last_kept;
    std::vector<std::uint32_t> expected(total), indices(total, 77);
    Floats expected_values(total);
    for (std::size_t b = 0; b < blocks.blocks(); ++b) {
      const std::size_t count = std::min(block, host.size() - b * block);
      SelectTopK(&host[b * block], count, b + 1 == blocks.blocks() ? last_kept : kept,
                 reinterpret_cast<char*>(&expected[b * kept]), reinterpret_cast<char*>(&expected_values[b * kept]));
    }
    const DeviceMemory device_indices = parity.Upload(indices);
    const Array out = parity.Garbage(static_cast<std::int64_t>(total));
    parity.backend().vector_ops().SelectTopK(parity.stream(), blocks, kept, last_kept, values.floats(),
                                             device_indices.as<std::uint32_t>(), out.floats());
    parity.Require(parity.Download<std::uint32_t>(device_indices) == expected, "the indices");
    parity.ExpectExact(out, ToDoubles(expected_values));
  });
}

}  // namespace

void VectorParity(Parity& parity) {
  for (const auto& row : shapes::kCounts) {
    if (row.large && parity.small()) continue;
    for (const bool shifted : {false, true}) {
      Steps(parity, row.shape, shifted);
      Bf16(parity, row.shape, shifted);
      DecodedBf16(parity, row.shape, shifted);
      for (const std::size_t block : {std::size_t{64}, std::size_t{4096}}) {
        Int8(parity, row.shape, block, shifted);
        for (const double fraction : {0.01, 0.3, 1.0}) TopK(parity, row.shape, block, fraction, shifted);
      }
    }
  }
}

}  // namespace leeway
