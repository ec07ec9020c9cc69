// Parity of kernels/vector_ops.h: the bits of kernels/optimizers and kernels/encodings on the CPU.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/encodings/bf16.h"
#include "kernels/encodings/encoding.h"
#include "kernels/encodings/residual.h"
#include "tests/gpu/parity.h"
#include "tests/gpu/shapes.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;

Floats ToFloats(const Doubles& values) { return {values.begin(), values.end()}; }
Doubles ToDoubles(const Floats& values) { return {values.begin(), values.end()}; }

// Random values, of which every third, from `first` on, is 0.
Array WithZeros(Parity& parity, std::int64_t size, std::uint32_t seed, std::size_t first) {
  Doubles values = parity.Random(size, seed).values;
  for (std::size_t i = first; i < values.size(); i += 3) values[i] = 0;
  return parity.Of(values);
}

// One step by `optimizer` on the CPU and by `run` on the device, from weights and slots that are not zero; with
// `zeros` some weights are, and some of slot 0.
template <typename Run>
void Step(Parity& parity, const char* name, std::int64_t size, bool shifted, const Optimizer& optimizer, Run run,
          bool zeros = false) {
  parity.Run(absl::StrCat(name, " step ", size), shifted, [&] {
    const Array gradient = parity.Random(size, 1);
    const Array weights = zeros ? WithZeros(parity, size, 2, 0) : parity.Random(size, 2);
    // Second moments are positive.
    const Array slots[2] = {zeros ? WithZeros(parity, size, 3, 1) : parity.Random(size, 3, DataType::kF32, 0.1, 0.2),
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
  // Rates at which some weights stay 0, some leave it and some get there.
  const Ftrl ftrl({0.5, 0.25, 0.001});
  Step(
      parity, "ftrl", size, shifted, ftrl,
      [&](const StepArgs& args, const DeviceStep& step) { ops.Step(stream, ftrl.Rule(args), step); }, true);
}

// Values of many sizes, some of them equal, some beyond bfloat16's range, some whose rounding errors are denormals,
// zeros.
Doubles Varied(Parity& parity, std::int64_t size) {
  Doubles values = parity.Random(size, 9).values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i % 5 == 1) values[i] = std::ldexp(values[i], static_cast<int>(i % 90) - 45);
    if (i % 7 == 3) values[i] = std::round(values[i] * 4) / 4;
    if (i % 11 == 4) values[i] = std::ldexp(values[i], -124);
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

// One encoding of `run`'s blocks, by the device's ops and by EncodeBlock on the CPU: of the values, and twice in a row
// with a residual, of which one block cannot take what is added to it.
struct Encoded {
  v1::Encoding encoding;
  double fraction;  // top-k

  std::size_t Kept(std::size_t count) const { return encoding == v1::TOP_K ? TopKCount(fraction, count) : 0; }
  std::size_t Bytes(std::size_t count) const { return EncodedBytes(encoding, count, Kept(count)); }
};

// What a block says that is not encoded.
void WriteNan(const Encoded& encoded, std::size_t count, char* out) {
  const std::size_t kept = encoded.Kept(count);
  std::vector<std::uint32_t> words(1 + 2 * kept);
  words[0] = encoded.encoding == v1::TOP_K ? static_cast<std::uint32_t>(kept) : 0x7fc00000u;
  for (std::size_t k = 0; k < kept; ++k) words[1 + k] = static_cast<std::uint32_t>(k);
  if (kept > 0) words[1 + kept] = 0x7fc00000u;
  std::memset(out, 0, encoded.Bytes(count));
  std::memcpy(out, words.data(), words.size() * sizeof words[0]);
}

void EncodeOnHost(const Encoded& encoded, const EncodedBlocks& run, const Floats& values, Floats* residual, char* out) {
  for (std::size_t i = 0; i < run.blocks; ++i) {
    const std::size_t begin = run.Begin(i), size = run.Size(i);
    if (residual == nullptr) {
      EncodeBlock(encoded.encoding, &values[begin], size, encoded.Kept(size), out);
    } else if (float* const sums = &(*residual)[begin]; SumEncodable(sums, &values[begin], size)) {
      AddValues(&values[begin], size, sums);
      EncodeBlock(encoded.encoding, sums, size, encoded.Kept(size), out, sums);
    } else {
      WriteNan(encoded, size, out);
      for (std::size_t k = 0; k < size && encoded.encoding == v1::TOP_K; ++k) {
        const float value = values[begin + k], sum = sums[k] + value;
        if (!(std::fabs(sum) < kEncodableLimit)) continue;
        sums[k] = std::fabs(sum + value) < kEncodableLimit ? sum - value : sum;
      }
    }
    out += encoded.Bytes(size);
  }
}

void EncodeOnDevice(Parity& parity, const Encoded& encoded, const EncodedBlocks& run, const Array& values,
                    DevicePtr<float> residual, DevicePtr<char> out) {
  VectorOps& ops = parity.backend().vector_ops();
  if (encoded.encoding == v1::INT8) {
    ops.EncodeInt8(parity.stream(), run, values.floats(), residual, out);
  } else {
    const std::size_t last = run.count - (run.count - 1) / run.block * run.block;
    ops.EncodeTopK(parity.stream(), run, encoded.Kept(run.block), encoded.Kept(last), values.floats(), residual, out);
  }
}

void EncodedRun(Parity& parity, const Encoded& encoded, const EncodedBlocks& run, const Doubles& numbers,
                const std::string& what, bool shifted) {
  const std::string name = encoded.encoding == v1::INT8 ? "int8" : absl::StrCat("top-k ", encoded.fraction);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < run.blocks; ++i) bytes += encoded.Bytes(run.Size(i));
  const auto expect = [&](const DeviceMemory& out, const std::vector<char>& expected) {
    std::vector<char> written = parity.Download<char>(out);
    parity.Require(std::all_of(written.begin() + static_cast<std::ptrdiff_t>(bytes), written.end(),
                               [](char c) { return c == 99; }),
                   "nothing written behind the bytes");
    written.resize(bytes);
    parity.Require(written == expected, "the bytes");
    parity.RequireBits(written.data(), written.size());
  };
  const auto untouched = [&] { return parity.Upload(std::vector<char>(bytes + 64, 99)); };
  const std::string shape = absl::StrCat(" ", run.count, " by ", run.block, ", ", run.blocks, " from ", run.first,
                                         " every ", run.stride, what);
  parity.Run(absl::StrCat("encode ", name, shape), shifted, [&] {
    const Array values = parity.Of(numbers);
    std::vector<char> expected(bytes);
    EncodeOnHost(encoded, run, ToFloats(values.values), nullptr, expected.data());
    const DeviceMemory out = untouched();
    EncodeOnDevice(parity, encoded, run, values, {}, out.as<char>());
    expect(out, expected);
    parity.ExpectExact(values, values.values);
  });
  parity.Run(absl::StrCat("encode ", name, " with residual", shape), shifted, [&] {
    Doubles gradient = numbers;
    for (double& value : gradient) value = std::min(value, 1e30);
    const Array kept = parity.Random(static_cast<std::int64_t>(run.count), 21);
    Floats residual = ToFloats(kept.values);
    for (int step = 0; step < 3; ++step) {
      Doubles now = gradient;
      if (step == 1) now[run.Begin(run.blocks - 1) + run.Size(run.blocks - 1) / 2] = 1.5e36;  // above 2^120
      if (step == 1) now[run.Begin(0)] = std::numeric_limits<double>::quiet_NaN();
      const Array values = parity.Of(now);
      std::vector<char> expected(bytes);
      EncodeOnHost(encoded, run, ToFloats(values.values), &residual, expected.data());
      const DeviceMemory out = untouched();
      EncodeOnDevice(parity, encoded, run, values, kept.floats(), out.as<char>());
      expect(out, expected);
    }
    parity.ExpectExact(kept, ToDoubles(residual));
  });
}

// Mostly zeros, as of embeddings; and values that grow, so that no sample of a part is like the whole.
Doubles Sparse(Parity& parity, std::int64_t size) {
  Doubles values = parity.Random(size, 10).values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i % 211 != 5) values[i] = 0;
  }
  return values;
}
Doubles Crowded(Parity& parity, std::int64_t size) {
  Doubles values = parity.Random(size, 11).values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i * 64 / values.size() % 16 == 7) values[i] = 3 + std::round(values[i] * 8) / 8;
  }
  return values;
}

// Blocks of every way that a GPU has: of one part and of many, kept in registers and in shared memory, too large for
// either; and a chunk's, which lie apart.
void Encodings(Parity& parity, std::int64_t size, std::size_t block, bool shifted) {
  const auto count = static_cast<std::size_t>(size);
  std::vector<EncodedBlocks> runs = {EncodedBlocks::All(count, block)};
  if (runs[0].blocks >= 4) runs.push_back({count, block, 1, 3, (runs[0].blocks - 1 + 2) / 3});
  for (const EncodedBlocks& run : runs) {
    for (const Encoded& encoded :
         {Encoded{v1::INT8, 0}, {v1::TOP_K, 0.001}, {v1::TOP_K, 0.01}, {v1::TOP_K, 0.3}, {v1::TOP_K, 1}}) {
      // Under sanitizers: each way through the kernels once.
      const bool few = parity.small() && encoded.encoding == v1::TOP_K && encoded.fraction != 0.01;
      if (few && encoded.fraction != 1) continue;
      EncodedRun(parity, encoded, run, Varied(parity, size), "", shifted);
      if (encoded.fraction == 0.3 || shifted || few) continue;
      EncodedRun(parity, encoded, run, Sparse(parity, size), ", sparse", shifted);
      EncodedRun(parity, encoded, run, Crowded(parity, size), ", crowded", shifted);
    }
  }
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
        // Under sanitizers: not many blocks alike, each of which costs what a large one does.
        if (parity.small() && (row.shape < 1000 ? shifted || block > 64 : row.shape > 1000 && block == 64)) continue;
        Encodings(parity, row.shape, block, shifted);
      }
    }
  }
  for (const auto& row : shapes::kBlocks) {
    if (row.large && parity.small()) continue;
    Encodings(parity, row.shape.count, static_cast<std::size_t>(row.shape.block), false);
  }
}

}  // namespace leeway
