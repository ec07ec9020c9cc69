// Parity of kernels/transformer_ops.h but attention, in each type that the backend knows.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/reference/transformer.h"
#include "tests/gpu/parity.h"
#include "tests/gpu/shapes.h"

namespace leeway {
namespace {

const char* Name(DataType type) { return type == DataType::kBf16 ? " bf16" : " f32"; }

void AddStart(const Array& start, Doubles& expected, Doubles& magnitude) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expected[i] += start.values[i];
    magnitude[i] += std::abs(start.values[i]);
  }
}

void Casts(Parity& parity, std::int64_t size, bool shifted) {
  if (parity.types().size() < 2) return;
  TransformerOps& ops = parity.backend().transformer_ops();
  const auto count = static_cast<std::size_t>(size);
  parity.Run(absl::StrCat("cast ", size), shifted, [&] {
    Doubles values = parity.Random(size, 1).values;
    values[0] = std::numeric_limits<double>::quiet_NaN();
    if (size > 2) values[2] = -std::numeric_limits<double>::infinity();
    const Array wide = parity.Of(values), half = parity.Garbage(size, DataType::kBf16), again = parity.Garbage(size);
    ops.Cast(parity.stream(), count, wide.typed(), half.typed());
    ops.Cast(parity.stream(), count, half.typed(), again.typed());
    const Doubles rounded = parity.Of(values, DataType::kBf16).values;
    parity.ExpectExact(half, rounded);
    parity.ExpectExact(again, rounded);
  });
}

void Linear(Parity& parity, const LinearShape& shape, DataType type, bool shifted) {
  TransformerOps& ops = parity.backend().transformer_ops();
  Stream& stream = parity.stream();
  const std::int64_t inputs = shape.batch * shape.in, outputs = shape.batch * shape.out;
  const std::string size = absl::StrCat(" ", shape.batch, "x", shape.in, "->", shape.out, Name(type));
  parity.Run(absl::StrCat("typed linear", size), shifted, [&] {
    const Array x = parity.Random(inputs, 1, type), w = parity.Random(shape.out * shape.in, 2, type);
    const Array bias = parity.Random(shape.out, 3, type), y = parity.Garbage(outputs, type);
    const Doubles zero(bias.values.size());
    const auto sums = [&](const Doubles& b) {
      return reference::LinearForward(shape, x.values, w.values, b, Activation::kNone);
    };
    const Doubles magnitude = reference::LinearForward(shape, Magnitudes(x.values), Magnitudes(w.values),
                                                       Magnitudes(bias.values), Activation::kNone);
    // Where an output of bfloat16 is not aligned, cuBLASLt may round it before the bias is added and again after: one
    // rounding more, of up to 2^-8 of the sum without the bias (70x8->256 has elements that take nearly all of it).
    const Parity::Tolerance tolerance{.length = shape.in, .inner_roundings = shifted ? 1.0 : 0.0, .product = true};
    ops.LinearForward(stream, shape, x.typed(), w.typed(), {}, y.typed());
    parity.Expect(y, sums(zero), magnitude, tolerance);
    ops.LinearForward(stream, shape, x.typed(), w.typed(), bias.typed(), y.typed());
    parity.Expect(y, sums(bias.values), magnitude, tolerance);
    const Array pre = parity.Garbage(outputs, type), gelu = parity.Garbage(outputs, type);
    ops.LinearGeluForward(stream, shape, x.typed(), w.typed(), bias.typed(), pre.typed(), gelu.typed());
    parity.Expect(pre, sums(bias.values), magnitude, tolerance);
    // gelu' is at most 1.13; gelu may be of the rounded sums.
    Doubles gelu_magnitude = magnitude;
    for (double& value : gelu_magnitude) value = 1.2 * value + 1;
    parity.Expect(gelu, reference::GeluForward(sums(bias.values)), gelu_magnitude,
                  {.length = shape.in, .inner_roundings = 1, .product = true});
  });
  parity.Run(absl::StrCat("typed linear data", size), shifted, [&] {
    const Array dy = parity.Random(outputs, 4, type), w = parity.Random(shape.out * shape.in, 2, type);
    const Array pre = parity.Random(inputs, 5, type, 3), dx = parity.Garbage(inputs, type);
    const Doubles expected = reference::LinearBackwardData(shape, dy.values, w.values);
    Doubles magnitude = reference::LinearBackwardData(shape, Magnitudes(dy.values), Magnitudes(w.values));
    ops.LinearBackwardData(stream, shape, dy.typed(), w.typed(), dx.typed());
    parity.Expect(dx, expected, magnitude, {.length = shape.out, .product = true});
    const Array dpre = parity.Garbage(inputs, type);
    ops.LinearGeluBackwardData(stream, shape, dy.typed(), w.typed(), pre.typed(), dpre.typed());
    for (double& value : magnitude) value *= 3;
    parity.Expect(dpre, reference::GeluBackward(pre.values, expected), magnitude,
                  {.length = shape.out, .inner_roundings = 1, .product = true});
  });
  for (const Write write : {Write::kOverwrite, Write::kAdd}) {
    parity.Run(absl::StrCat("typed linear weights", write == Write::kAdd ? " add" : "", size), shifted, [&] {
      const Array x = parity.Random(inputs, 1, type), dy = parity.Random(outputs, 4, type);
      const Array dw = parity.Random(shape.out * shape.in, 5), dbias = parity.Random(shape.out, 6);
      reference::WeightGradients sums = reference::LinearBackwardWeights(shape, x.values, dy.values);
      reference::WeightGradients sizes =
          reference::LinearBackwardWeights(shape, Magnitudes(x.values), Magnitudes(dy.values));
      if (write == Write::kAdd) {
        AddStart(dw, sums.dw, sizes.dw);
        AddStart(dbias, sums.dbias, sizes.dbias);
      }
      ops.LinearBackwardWeights(stream, shape, x.typed(), dy.typed(), dw.floats(), dbias.floats(), write);
      parity.Expect(dw, sums.dw, sizes.dw, {.length = shape.batch, .product = true});
      parity.Expect(dbias, sums.dbias, sizes.dbias, {.length = shape.batch});
    });
  }
}

void Norm(Parity& parity, const NormShape& shape, DataType type, bool shifted) {
  TransformerOps& ops = parity.backend().transformer_ops();
  Stream& stream = parity.stream();
  const std::int64_t elements = shape.rows * shape.width;
  const std::string size = absl::StrCat(" ", shape.rows, "x", shape.width, Name(type));
  for (const bool add : {false, true}) {
    parity.Run(absl::StrCat("layer norm", add ? " of a sum" : "", size), shifted, [&] {
      // Far from zero: a variance from mean(x^2) - mean(x)^2 would lose its digits.
      const Array x = parity.Random(elements, 1, type, 1, 30), branch = parity.Random(elements, 2, type);
      const Array gain = parity.Random(shape.width, 3), bias = parity.Random(shape.width, 4);
      const Array y = parity.Garbage(elements, type), mean = parity.Garbage(shape.rows),
                  rstd = parity.Garbage(shape.rows);
      Doubles input = x.values;
      if (add) {
        for (std::size_t i = 0; i < input.size(); ++i) input[i] += branch.values[i];
        ops.AddLayerNormForward(stream, shape, x.typed(), branch.typed(), x.typed(), gain.floats(), bias.floats(),
                                y.typed(), mean.floats(), rstd.floats());
        input = parity.Of(input, type).values;
        parity.ExpectExact(x, input);
      } else {
        ops.LayerNormForward(stream, shape, x.typed(), gain.floats(), bias.floats(), y.typed(), mean.floats(),
                             rstd.floats());
      }
      const reference::Normalized expected = reference::LayerNormForward(shape, input, gain.values, bias.values);
      Doubles magnitude, mean_magnitude;
      for (std::size_t i = 0; i < expected.y.size(); ++i) {
        const std::size_t row = i / static_cast<std::size_t>(shape.width);
        // The mean is off by width roundings of it; rstd tells how much larger that is in the normalized row.
        magnitude.push_back((std::abs(expected.mean[row]) + 1) * expected.rstd[row] + std::abs(expected.y[i]) + 1);
      }
      for (const double value : expected.mean) mean_magnitude.push_back(std::abs(value) + 1);
      parity.Expect(y, expected.y, magnitude, {.length = shape.width});
      parity.Expect(mean, expected.mean, mean_magnitude, {.length = shape.width});
      Doubles rstd_magnitude;
      for (const double value : expected.rstd) rstd_magnitude.push_back(value * (1 + value * value) * 40);
      parity.Expect(rstd, expected.rstd, rstd_magnitude, {.length = shape.width});
    });
  }
  for (const Write write : {Write::kOverwrite, Write::kAdd}) {
    parity.Run(absl::StrCat("layer norm backward", write == Write::kAdd ? " add" : "", size), shifted, [&] {
      const Array x = parity.Random(elements, 1, type), dy = parity.Random(elements, 5, type);
      const Array gain = parity.Random(shape.width, 3), bias = parity.Random(shape.width, 4);
      const Array y = parity.Garbage(elements, type), mean = parity.Garbage(shape.rows),
                  rstd = parity.Garbage(shape.rows);
      const Array dx = parity.Random(elements, 6, type), dgain = parity.Random(shape.width, 7);
      const Array dbias = parity.Random(shape.width, 8);
      ops.LayerNormForward(stream, shape, x.typed(), gain.floats(), bias.floats(), y.typed(), mean.floats(),
                           rstd.floats());
      ops.LayerNormBackward(stream, shape, x.typed(), gain.floats(), mean.floats(), rstd.floats(), dy.typed(),
                            dx.typed(), write, dgain.floats(), dbias.floats(), write);
      reference::NormGradients expected = reference::LayerNormBackward(shape, x.values, gain.values, dy.values);
      const Doubles rstds = reference::LayerNormForward(shape, x.values, gain.values, bias.values).rstd;
      Doubles magnitude;
      for (std::size_t i = 0; i < expected.dx.size(); ++i) {
        const double r = rstds[i / static_cast<std::size_t>(shape.width)];
        magnitude.push_back((r + 1) * (r + 1) * 4);
      }
      Doubles gain_magnitude(expected.dgain.size(), static_cast<double>(shape.rows) * 4);
      Doubles bias_magnitude = gain_magnitude;
      if (write == Write::kAdd) {
        AddStart(dx, expected.dx, magnitude);
        AddStart(dgain, expected.dgain, gain_magnitude);
        AddStart(dbias, expected.dbias, bias_magnitude);
      }
      parity.Expect(dx, expected.dx, magnitude, {.length = shape.width});
      parity.Expect(dgain, expected.dgain, gain_magnitude, {.length = shape.rows + shape.width});
      parity.Expect(dbias, expected.dbias, bias_magnitude, {.length = shape.rows});
    });
  }
}

void Embed(Parity& parity, const EmbeddingShape& shape, DataType type, bool shifted) {
  TransformerOps& ops = parity.backend().transformer_ops();
  const std::int64_t rows = shape.batch * shape.length;
  const std::string name = absl::StrCat("embedding ", shape.batch, "x", shape.length, " of ", shape.vocabulary, "x",
                                        shape.width, Name(type));
  parity.Run(name, shifted, [&] {
    std::vector<std::int32_t> ids;
    // Every seventh place has token 0: often, as a space is in text.
    for (std::int64_t i = 0; i < rows; ++i) {
      ids.push_back(i % 7 == 0 ? 0 : static_cast<std::int32_t>(i * i * 11 % shape.vocabulary));
    }
    const DeviceMemory tokens = parity.Upload(ids);
    const auto id = tokens.as<const std::int32_t>();
    const Array wte = parity.Random(shape.vocabulary * shape.width, 1),
                wpe = parity.Random(shape.length * shape.width, 2);
    const Array y = parity.Garbage(rows * shape.width, type), dy = parity.Random(rows * shape.width, 3, type);
    ops.EmbeddingForward(parity.stream(), shape, id, wte.floats(), wpe.floats(), y.typed());
    const Doubles expected = reference::EmbeddingForward(shape, ids, wte.values, wpe.values);
    parity.Expect(y, expected, Doubles(expected.size(), 2), {.length = 1});
    for (const Write write : {Write::kOverwrite, Write::kAdd}) {
      const Array dwte = parity.Random(shape.vocabulary * shape.width, 4);
      const Array dwpe = parity.Random(shape.length * shape.width, 5);
      reference::EmbeddingGradients sums = reference::EmbeddingBackward(shape, ids, dy.values);
      reference::EmbeddingGradients sizes = reference::EmbeddingBackward(shape, ids, Magnitudes(dy.values));
      AddStart(dwte, sums.dwte, sizes.dwte);
      if (write == Write::kAdd) AddStart(dwpe, sums.dwpe, sizes.dwpe);
      ops.EmbeddingBackward(parity.stream(), shape, id, dy.typed(), dwte.floats(), dwpe.floats(), write);
      parity.Expect(dwte, sums.dwte, sizes.dwte, {.length = rows});
      parity.Expect(dwpe, sums.dwpe, sizes.dwpe, {.length = shape.batch});
    }
  });
}

void Loss(Parity& parity, const LogitsShape& shape, DataType type, bool shifted) {
  TransformerOps& ops = parity.backend().transformer_ops();
  const std::string name =
      absl::StrCat("cross-entropy ", shape.rows, "x", shape.classes, " of ", shape.columns, Name(type));
  parity.Run(name, shifted, [&] {
    constexpr double kSpread = 20, kScale = 0.25;
    Doubles z = parity.Random(shape.rows * shape.columns, 1, type, kSpread).values;
    std::vector<std::int32_t> names;
    for (std::int64_t row = 0; row < shape.rows; ++row) {
      names.push_back(static_cast<std::int32_t>((row * 3 + 1) % shape.classes));
      // One row is right; NaN in the padding is nobody's business.
      if (row == 0) z[static_cast<std::size_t>(names[0])] = kSpread + 4;
      if (shape.columns > shape.classes) {
        z[static_cast<std::size_t>(row * shape.columns + shape.classes)] = std::numeric_limits<double>::quiet_NaN();
      }
    }
    const Array logits = parity.Of(z, type), dlogits = parity.Garbage(shape.rows * shape.columns, type);
    const reference::Loss expected = reference::PaddedSoftmaxCrossEntropy(shape, logits.values, names, kScale);
    const DeviceMemory labels = parity.Upload(names), sum = parity.Upload(std::vector<LossSum>{{-1, -1}});
    const Doubles magnitude(dlogits.memory.bytes() == 0 ? 0 : static_cast<std::size_t>(dlogits.count),
                            kScale * kSpread);
    // The loss alone, as evaluation has it; then with the gradient, aside and in place.
    for (const Array* const out : {static_cast<const Array*>(nullptr), &dlogits, &logits}) {
      ops.SoftmaxCrossEntropy(parity.stream(), shape, logits.typed(), labels.as<const std::int32_t>(), kScale,
                              out == nullptr ? TypedPtr({}, type) : out->typed(), sum.as<LossSum>());
      const LossSum result = parity.Download<LossSum>(sum)[0];
      parity.RequireBits(&result, sizeof result);
      parity.Require(result.correct == expected.correct, absl::StrCat("correct: ", result.correct));
      parity.Require(std::abs(result.loss_sum - expected.loss_sum) <= 1e-5 * std::abs(expected.loss_sum) + 1e-5,
                     absl::StrCat("loss ", result.loss_sum, ", expected ", expected.loss_sum));
      if (out != nullptr) parity.Expect(*out, expected.dlogits, magnitude, {.length = 64});
    }
  });
}

}  // namespace

void TransformerParity(Parity& parity) {
  const auto each = [&](const auto& rows, auto run) {
    for (const auto& row : rows) {
      if (row.large && parity.small()) continue;
      for (const DataType type : parity.types()) {
        for (const bool shifted : {false, true}) {
          if (!row.large || !shifted) run(parity, row.shape, type, shifted);
        }
      }
    }
  };
  for (const auto& row : shapes::kCounts) {
    if (!row.large || !parity.small()) Casts(parity, row.shape, false), Casts(parity, row.shape, true);
  }
  each(shapes::kLinear, Linear);
  each(shapes::kNorms, Norm);
  each(shapes::kEmbeddings, Embed);
  each(shapes::kLogits, Loss);
}

}  // namespace leeway
