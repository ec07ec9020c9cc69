// Parity of kernels/ops.h.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/reference/reference.h"
#include "tests/gpu/parity.h"
#include "tests/gpu/shapes.h"

namespace leeway {
namespace {

// Adds what the gradients lay on.
void AddStart(const Array& start, Doubles& expected, Doubles& magnitude) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expected[i] += start.values[i];
    magnitude[i] += std::abs(start.values[i]);
  }
}

void ExpectWeights(Parity& parity, const reference::WeightGradients& sums, const reference::WeightGradients& sizes,
                   std::int64_t length, const Array& dw, const Array& dbias, Write write) {
  reference::WeightGradients expected = sums, magnitude = sizes;
  if (write == Write::kAdd) {
    AddStart(dw, expected.dw, magnitude.dw);
    AddStart(dbias, expected.dbias, magnitude.dbias);
  }
  parity.Expect(dw, expected.dw, magnitude.dw, {.length = length, .product = true});
  parity.Expect(dbias, expected.dbias, magnitude.dbias, {.length = length});
}

void Linear(Parity& parity, const LinearShape& shape, bool shifted) {
  Ops& ops = parity.backend().ops();
  Stream& stream = parity.stream();
  const std::string size = absl::StrCat(" ", shape.batch, "x", shape.in, "->", shape.out);
  for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
    parity.Run(absl::StrCat("linear", activation == Activation::kRelu ? " relu" : "", size), shifted, [&] {
      const Array x = parity.Random(shape.batch * shape.in, 1), w = parity.Random(shape.out * shape.in, 2);
      const Array bias = parity.Random(shape.out, 3), y = parity.Garbage(shape.batch * shape.out);
      ops.LinearForward(stream, shape, x.floats(), w.floats(), bias.floats(), y.floats(), activation);
      parity.Expect(y, reference::LinearForward(shape, x.values, w.values, bias.values, activation),
                    reference::LinearForward(shape, Magnitudes(x.values), Magnitudes(w.values), Magnitudes(bias.values),
                                             Activation::kNone),
                    {.length = shape.in, .product = true});
    });
  }
  parity.Run(absl::StrCat("linear data", size), shifted, [&] {
    const Array dy = parity.Random(shape.batch * shape.out, 4), w = parity.Random(shape.out * shape.in, 2);
    const Array dx = parity.Garbage(shape.batch * shape.in);
    ops.LinearBackwardData(stream, shape, dy.floats(), w.floats(), dx.floats());
    parity.Expect(dx, reference::LinearBackwardData(shape, dy.values, w.values),
                  reference::LinearBackwardData(shape, Magnitudes(dy.values), Magnitudes(w.values)),
                  {.length = shape.out, .product = true});
  });
  for (const Write write : {Write::kOverwrite, Write::kAdd}) {
    parity.Run(absl::StrCat("linear weights", write == Write::kAdd ? " add" : "", size), shifted, [&] {
      const Array x = parity.Random(shape.batch * shape.in, 1), dy = parity.Random(shape.batch * shape.out, 4);
      const Array dw = parity.Random(shape.out * shape.in, 5), dbias = parity.Random(shape.out, 6);
      ops.LinearBackwardWeights(stream, shape, x.floats(), dy.floats(), dw.floats(), dbias.floats(), write);
      ExpectWeights(parity, reference::LinearBackwardWeights(shape, x.values, dy.values),
                    reference::LinearBackwardWeights(shape, Magnitudes(x.values), Magnitudes(dy.values)), shape.batch,
                    dw, dbias, write);
    });
  }
}

void Convolution(Parity& parity, const shapes::ConvShape& shape, bool shifted) {
  Stream& stream = parity.stream();
  const ImageShape& image = shape.image;
  const std::int64_t out = shape.out_channels;
  const std::string size =
      absl::StrCat(" ", image.batch, "x", image.height, "x", image.width, "x", image.channels, "->", out);
  // Made for a larger batch than the case's.
  ImageShape largest = image;
  ++largest.batch;
  absl::StatusOr<std::unique_ptr<Conv3x3>> made = parity.backend().ops().NewConv3x3(largest, out);
  parity.Run(absl::StrCat("convolution", size), shifted, [&] {
    parity.Require(made.ok(), made.status().ToString());
    if (!made.ok()) return;
    const Array x = parity.Random(image.elements(), 1), w = parity.Random(out * image.channels * 9, 2);
    const Array bias = parity.Random(out, 3), y = parity.Garbage(image.pixels() * out);
    (*made)->Forward(stream, image.batch, x.floats(), w.floats(), bias.floats(), y.floats());
    parity.Expect(
        y, reference::Conv3x3Forward(image, out, x.values, w.values, bias.values),
        reference::Conv3x3Forward(image, out, Magnitudes(x.values), Magnitudes(w.values), Magnitudes(bias.values)),
        {.length = 9 * image.channels, .product = true});
    const Array dy = parity.Random(image.pixels() * out, 4), dx = parity.Garbage(image.elements());
    (*made)->BackwardData(stream, image.batch, dy.floats(), w.floats(), dx.floats());
    parity.Expect(dx, reference::Conv3x3BackwardData(image, out, dy.values, w.values),
                  reference::Conv3x3BackwardData(image, out, Magnitudes(dy.values), Magnitudes(w.values)),
                  {.length = 9 * out, .product = true});
    for (const Write write : {Write::kOverwrite, Write::kAdd}) {
      const Array dw = parity.Random(out * image.channels * 9, 5), dbias = parity.Random(out, 6);
      (*made)->BackwardWeights(stream, image.batch, x.floats(), dy.floats(), dw.floats(), dbias.floats(), write);
      ExpectWeights(parity, reference::Conv3x3BackwardWeights(image, out, x.values, dy.values),
                    reference::Conv3x3BackwardWeights(image, out, Magnitudes(x.values), Magnitudes(dy.values)),
                    image.pixels(), dw, dbias, write);
    }
  });
}

void Pool(Parity& parity, const ImageShape& shape, bool shifted) {
  Ops& ops = parity.backend().ops();
  for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
    const std::string name = absl::StrCat("max pool", activation == Activation::kRelu ? " relu " : " ", shape.batch,
                                          "x", shape.height, "x", shape.width, "x", shape.channels);
    parity.Run(name, shifted, [&] {
      // Coarse numbers give windows with ties, and zeros.
      Doubles values = parity.Random(shape.elements(), 1).values;
      for (double& value : values) value = std::round(value * 4) / 4;
      values[values.size() / 2] = std::numeric_limits<double>::quiet_NaN();
      const Array x = parity.Of(values);
      const reference::Pooled expected = reference::MaxPoolForward(shape, x.values, activation);
      const auto outputs = static_cast<std::int64_t>(expected.y.size());
      const Array y = parity.Garbage(outputs), dy = parity.Random(outputs, 2), dx = parity.Garbage(shape.elements());
      const DeviceMemory choice = parity.Upload(std::vector<std::int32_t>(expected.y.size(), 77));
      ops.MaxPoolForward(parity.stream(), shape, x.floats(), y.floats(), choice.as<std::int32_t>(), activation);
      ops.MaxPoolBackward(parity.stream(), shape, dy.floats(), choice.as<const std::int32_t>(), dx.floats());
      parity.ExpectExact(y, expected.y);
      parity.Require(parity.Download<std::int32_t>(choice) == expected.choice, "the choices");
      parity.ExpectExact(dx, reference::MaxPoolBackward(shape, dy.values, expected.choice));
    });
  }
}

void Vectors(Parity& parity, std::int64_t size, bool shifted) {
  Ops& ops = parity.backend().ops();
  Stream& stream = parity.stream();
  const auto count = static_cast<std::size_t>(size);
  parity.Run(absl::StrCat("relu, fill, scale, axpy ", size), shifted, [&] {
    const Array x = parity.Random(size, 1), dy = parity.Random(size, 2), y = parity.Garbage(size);
    ops.ReluForward(stream, count, x.floats(), y.floats());
    const Doubles relu = reference::ReluForward(x.values);
    parity.ExpectExact(y, relu);
    ops.ReluBackward(stream, count, y.floats(), dy.floats(), y.floats());
    parity.ExpectExact(y, reference::ReluBackward(relu, dy.values));
    ops.Fill(stream, count, -1.5f, y.floats());
    parity.ExpectExact(y, Doubles(count, -1.5));
    ops.Axpy(stream, count, -0.375f, x.floats(), dy.floats());
    Doubles sum(count), magnitude(count);
    for (std::size_t i = 0; i < count; ++i) {
      sum[i] = dy.values[i] - 0.375 * x.values[i];
      magnitude[i] = std::abs(dy.values[i]) + 0.375 * std::abs(x.values[i]);
    }
    parity.Expect(dy, sum, magnitude, {.length = 2});
    ops.Scale(stream, count, -2.0f, x.floats());
    Doubles scaled = x.values;
    for (double& value : scaled) value *= -2;
    parity.ExpectExact(x, scaled);
  });
  parity.Run(absl::StrCat("squared norm, finite check ", size), shifted, [&] {
    const Array x = parity.Random(size, 1);
    const DeviceMemory norm = parity.Upload(Doubles{-1}), index = parity.Upload(std::vector<std::int64_t>{-7});
    ops.SquaredNorm(stream, count, x.floats(), norm.as<double>());
    double squares = 0;
    for (const double value : x.values) squares += value * value;
    const Doubles actual = parity.Download<double>(norm);
    parity.RequireBits(actual.data(), sizeof(double));
    parity.Require(std::abs(actual[0] - squares) <= 1e-12 * squares, absl::StrCat("squared norm ", actual[0]));
    const auto first_bad = [&](const Array& array) {
      ops.FindNonFinite(stream, count, array.floats(), index.as<std::int64_t>());
      return parity.Download<std::int64_t>(index)[0];
    };
    parity.Require(first_bad(x) == -1, "a non-finite value where there is none");
    Doubles bad = x.values;
    bad[count - 1] = std::numeric_limits<double>::infinity();
    bad[count / 2] = std::numeric_limits<double>::quiet_NaN();
    parity.Require(first_bad(parity.Of(bad)) == static_cast<std::int64_t>(count / 2), "the first non-finite value");
  });
}

}  // namespace

void OpsParity(Parity& parity) {
  const auto each = [&](const auto& rows, auto run) {
    for (const auto& row : rows) {
      if (row.large && parity.small()) continue;
      for (const bool shifted : {false, true}) {
        if (!row.large || !shifted) run(parity, row.shape, shifted);
      }
    }
  };
  each(shapes::kCounts, Vectors);
  each(shapes::kLinear, Linear);
  each(shapes::kConvolutions, Convolution);
  each(shapes::kImages, Pool);
}

}  // namespace leeway
