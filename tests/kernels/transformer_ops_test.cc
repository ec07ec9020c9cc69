// The transformer's ops but attention against the reference, over odd sizes.
#include <limits>
#include <string>

#include "kernels/reference/transformer.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TypedPtr Typed(const DeviceMemory& memory) { return {memory.as<void>(), DataType::kF32}; }

Doubles Constant(std::size_t count, double value) { return Doubles(count, value); }

// What is added to: `start` to the values and its magnitude.
void AddStart(const Floats& start, Doubles& expected, Doubles& magnitude) {
  for (std::size_t i = 0; i < start.size(); ++i) expected[i] += start[i], magnitude[i] += std::abs(start[i]);
}

TEST_CASE("embedding: forward, and backward that adds in a fixed order") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  for (const EmbeddingShape& shape :
       {EmbeddingShape{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 17, 2, 33}, {4, 8, 100, 64}, {1, 129, 300, 1}}) {
    INFO(shape.batch << " x " << shape.length << ", " << shape.vocabulary << " x " << shape.width);
    const std::int64_t rows = shape.batch * shape.length;
    std::vector<std::int32_t> ids;
    for (std::int64_t row = 0; row < rows; ++row) {
      ids.push_back(static_cast<std::int32_t>(row * row * 7 % shape.vocabulary));
    }
    const Floats te = RandomFloats(shape.vocabulary * shape.width, 1), pe = RandomFloats(shape.length * shape.width, 2);
    const Floats gradient = RandomFloats(rows * shape.width, 3);
    const DeviceMemory tokens = device.Upload(ids), wte = device.Upload(te), wpe = device.Upload(pe);
    const DeviceMemory y = device.Garbage(rows * shape.width), dy = device.Upload(gradient);
    ops.EmbeddingForward(device.stream(), shape, tokens.as<const std::int32_t>(), wte.floats(), wpe.floats(), Typed(y));
    const Doubles expected = reference::EmbeddingForward(shape, ids, ToDoubles(te), ToDoubles(pe));
    RequireClose(device.Download(y), expected, Constant(expected.size(), 2), 1);

    for (const Write write : {Write::kOverwrite, Write::kAdd}) {
      const DeviceMemory dwte = device.Upload(te), dwpe = device.Upload(pe);
      ops.EmbeddingBackward(device.stream(), shape, tokens.as<const std::int32_t>(), Typed(dy), dwte.floats(),
                            dwpe.floats(), write);
      reference::EmbeddingGradients sums = reference::EmbeddingBackward(shape, ids, ToDoubles(gradient));
      reference::EmbeddingGradients size = reference::EmbeddingBackward(shape, ids, Magnitudes(ToDoubles(gradient)));
      AddStart(te, sums.dwte, size.dwte);
      if (write == Write::kAdd) AddStart(pe, sums.dwpe, size.dwpe);
      RequireClose(device.Download(dwte), sums.dwte, size.dwte, rows);
      RequireClose(device.Download(dwpe), sums.dwpe, size.dwpe, shape.batch);
    }
  }
}

TEST_CASE("a token outside the vocabulary is an error of the stream, with its place and value") {
  DeviceFixture device;
  for (const std::int32_t bad : {-1, 10}) {
    const DeviceMemory tokens = device.Upload(std::vector<std::int32_t>{9, 0, 3, bad});
    const DeviceMemory wte = device.Upload(Floats(30, 1)), wpe = device.Upload(Floats(6, 1)), y = device.Garbage(12);
    device.backend().transformer_ops().EmbeddingForward(device.stream(), {2, 2, 10, 3}, tokens.as<const std::int32_t>(),
                                                        wte.floats(), wpe.floats(), Typed(y));
    const absl::Status status = device.stream().Synchronize();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()),
               Catch::Contains("sequence 1") && Catch::Contains("token " + std::to_string(bad)));
  }
}

struct NormData {
  explicit NormData(const NormShape& shape)
      : x(RandomFloats(shape.rows * shape.width, 1)),
        branch(RandomFloats(shape.rows * shape.width, 2)),
        gain(RandomFloats(shape.width, 3)),
        bias(RandomFloats(shape.width, 4)),
        dy(RandomFloats(shape.rows * shape.width, 5)),
        dx(RandomFloats(shape.rows * shape.width, 6)) {
    // Rows far from zero: a variance from mean(x^2) - mean(x)^2 would lose its digits.
    for (std::int64_t i = 0; i < shape.width; ++i) x[static_cast<std::size_t>(i)] += 30;
  }
  Floats x, branch, gain, bias, dy, dx;
};

const NormShape kNormShapes[] = {{1, 1}, {3, 2}, {2, 15}, {5, 16}, {7, 33}, {64, 129}, {3, 768}, {2, 1601}};

TEST_CASE("layer norm forward, of x and of x + branch, also in place") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  for (const NormShape& shape : kNormShapes) {
    for (const bool add : {false, true}) {
      INFO(shape.rows << " x " << shape.width << (add ? ", with a branch" : ""));
      const NormData data(shape);
      const DeviceMemory x = device.Upload(data.x), branch = device.Upload(data.branch);
      const DeviceMemory gain = device.Upload(data.gain), bias = device.Upload(data.bias);
      const DeviceMemory y = device.Garbage(shape.rows * shape.width);
      const DeviceMemory mean = device.Garbage(shape.rows), rstd = device.Garbage(shape.rows);
      Floats input = data.x;
      if (add) {
        ops.AddLayerNormForward(device.stream(), shape, Typed(x), Typed(branch), Typed(x), gain.floats(), bias.floats(),
                                Typed(y), mean.floats(), rstd.floats());
        for (std::size_t i = 0; i < input.size(); ++i) input[i] += data.branch[i];
        CHECK(device.Download(x) == input);
      } else {
        ops.LayerNormForward(device.stream(), shape, Typed(x), gain.floats(), bias.floats(), Typed(y), mean.floats(),
                             rstd.floats());
      }
      const reference::Normalized expected =
          reference::LayerNormForward(shape, ToDoubles(input), ToDoubles(data.gain), ToDoubles(data.bias));
      // The mean is off by width roundings of it; rstd tells how much larger that is in the normalized row.
      Doubles magnitude, mean_magnitude;
      for (std::size_t i = 0; i < expected.y.size(); ++i) {
        const std::size_t row = i / static_cast<std::size_t>(shape.width);
        magnitude.push_back((std::abs(expected.mean[row]) + 1) * expected.rstd[row] + std::abs(expected.y[i]) + 1);
      }
      for (const double value : expected.mean) mean_magnitude.push_back(std::abs(value) + 1);
      RequireClose(device.Download(y), expected.y, magnitude, shape.width);
      RequireClose(device.Download(mean), expected.mean, mean_magnitude, shape.width);
      const Floats actual_rstd = device.Download(rstd);
      for (std::size_t row = 0; row < actual_rstd.size(); ++row) {
        CHECK(actual_rstd[row] == Approx(expected.rstd[row]).epsilon(1e-4));
      }
    }
  }
}

TEST_CASE("layer norm backward, overwriting and adding") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  for (const NormShape& shape : kNormShapes) {
    // A variance of a row of one value is 0, and rstd about 316: its gradient is 0 times that.
    for (const Write write : {Write::kOverwrite, Write::kAdd}) {
      INFO(shape.rows << " x " << shape.width);
      NormData data(shape);
      data.x = RandomFloats(shape.rows * shape.width, 1);
      const DeviceMemory x = device.Upload(data.x), gain = device.Upload(data.gain), bias = device.Upload(data.bias);
      const DeviceMemory y = device.Garbage(shape.rows * shape.width), dy = device.Upload(data.dy);
      const DeviceMemory mean = device.Garbage(shape.rows), rstd = device.Garbage(shape.rows);
      const DeviceMemory dx = device.Upload(data.dx), dgain = device.Upload(data.gain),
                         dbias = device.Upload(data.bias);
      ops.LayerNormForward(device.stream(), shape, Typed(x), gain.floats(), bias.floats(), Typed(y), mean.floats(),
                           rstd.floats());
      ops.LayerNormBackward(device.stream(), shape, Typed(x), gain.floats(), mean.floats(), rstd.floats(), Typed(dy),
                            Typed(dx), write, dgain.floats(), dbias.floats(), write);
      reference::NormGradients expected =
          reference::LayerNormBackward(shape, ToDoubles(data.x), ToDoubles(data.gain), ToDoubles(data.dy));
      const Doubles rstds =
          reference::LayerNormForward(shape, ToDoubles(data.x), ToDoubles(data.gain), ToDoubles(data.bias)).rstd;
      Doubles magnitude;
      for (std::size_t i = 0; i < expected.dx.size(); ++i) {
        const double r = rstds[i / static_cast<std::size_t>(shape.width)];
        magnitude.push_back((r + 1) * (r + 1) * 4);
      }
      Doubles gain_magnitude = Constant(expected.dgain.size(), static_cast<double>(shape.rows) * 4);
      Doubles bias_magnitude = gain_magnitude;
      if (write == Write::kAdd) {
        AddStart(data.dx, expected.dx, magnitude);
        AddStart(data.gain, expected.dgain, gain_magnitude);
        AddStart(data.bias, expected.dbias, bias_magnitude);
      }
      RequireClose(device.Download(dx), expected.dx, magnitude, shape.width);
      RequireClose(device.Download(dgain), expected.dgain, gain_magnitude, shape.rows + shape.width);
      RequireClose(device.Download(dbias), expected.dbias, bias_magnitude, shape.rows);
    }
  }
}

const LinearShape kLinearShapes[] = {{1, 1, 1}, {7, 17, 5}, {33, 16, 65}, {5, 129, 3}, {64, 40, 31}};

struct LinearData {
  explicit LinearData(const LinearShape& shape)
      : x(RandomFloats(shape.batch * shape.in, 1)),
        w(RandomFloats(shape.out * shape.in, 2)),
        bias(RandomFloats(shape.out, 3)),
        dy(RandomFloats(shape.batch * shape.out, 4)) {}
  Floats x, w, bias, dy;
};

TEST_CASE("linear forward: with a bias, without, with GELU") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  for (const LinearShape& shape : kLinearShapes) {
    INFO(shape.batch << " x " << shape.in << " -> " << shape.out);
    const LinearData data(shape);
    const DeviceMemory x = device.Upload(data.x), w = device.Upload(data.w), bias = device.Upload(data.bias);
    const DeviceMemory y = device.Garbage(shape.batch * shape.out), pre = device.Garbage(shape.batch * shape.out);
    const Doubles no_bias = Constant(data.bias.size(), 0), some_bias = ToDoubles(data.bias);
    const auto expected = [&](const Doubles& b) {
      return reference::LinearForward(shape, ToDoubles(data.x), ToDoubles(data.w), b, Activation::kNone);
    };
    const Doubles magnitude = reference::LinearForward(
        shape, Magnitudes(ToDoubles(data.x)), Magnitudes(ToDoubles(data.w)), Magnitudes(some_bias), Activation::kNone);
    ops.LinearForward(device.stream(), shape, Typed(x), Typed(w), {}, Typed(y));
    RequireClose(device.Download(y), expected(no_bias), magnitude, shape.in);
    ops.LinearForward(device.stream(), shape, Typed(x), Typed(w), Typed(bias), Typed(y));
    RequireClose(device.Download(y), expected(some_bias), magnitude, shape.in);
    ops.LinearGeluForward(device.stream(), shape, Typed(x), Typed(w), Typed(bias), Typed(pre), Typed(y));
    RequireClose(device.Download(pre), expected(some_bias), magnitude, shape.in);
    // gelu' is at most 1.13.
    Doubles gelu_magnitude = magnitude;
    for (double& value : gelu_magnitude) value = 1.2 * value + 1;
    RequireClose(device.Download(y), reference::GeluForward(expected(some_bias)), gelu_magnitude, shape.in);
  }
}

TEST_CASE("linear backward: data, data through GELU, weights with and without a bias") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  for (const LinearShape& shape : kLinearShapes) {
    INFO(shape.batch << " x " << shape.in << " -> " << shape.out);
    const LinearData data(shape);
    const Floats before = RandomFloats(shape.batch * shape.in, 5);
    const DeviceMemory x = device.Upload(data.x), w = device.Upload(data.w), dy = device.Upload(data.dy);
    const DeviceMemory pre = device.Upload(before), dx = device.Garbage(shape.batch * shape.in);
    const Doubles expected = reference::LinearBackwardData(shape, ToDoubles(data.dy), ToDoubles(data.w));
    Doubles magnitude =
        reference::LinearBackwardData(shape, Magnitudes(ToDoubles(data.dy)), Magnitudes(ToDoubles(data.w)));
    ops.LinearBackwardData(device.stream(), shape, Typed(dy), Typed(w), Typed(dx));
    RequireClose(device.Download(dx), expected, magnitude, shape.out);
    ops.LinearGeluBackwardData(device.stream(), shape, Typed(dy), Typed(w), Typed(pre), Typed(dx));
    for (double& value : magnitude) value *= 3;
    RequireClose(device.Download(dx), reference::GeluBackward(ToDoubles(before), expected), magnitude, shape.out);

    for (const Write write : {Write::kOverwrite, Write::kAdd}) {
      const DeviceMemory dw = device.Upload(data.w), dbias = device.Upload(data.bias);
      reference::WeightGradients sums = reference::LinearBackwardWeights(shape, ToDoubles(data.x), ToDoubles(data.dy));
      reference::WeightGradients size =
          reference::LinearBackwardWeights(shape, Magnitudes(ToDoubles(data.x)), Magnitudes(ToDoubles(data.dy)));
      if (write == Write::kAdd) {
        AddStart(data.w, sums.dw, size.dw);
        AddStart(data.bias, sums.dbias, size.dbias);
      }
      ops.LinearBackwardWeights(device.stream(), shape, Typed(x), Typed(dy), dw.floats(), dbias.floats(), write);
      RequireClose(device.Download(dw), sums.dw, size.dw, shape.batch);
      RequireClose(device.Download(dbias), sums.dbias, size.dbias, shape.batch);
      const DeviceMemory alone = device.Upload(data.w);
      ops.LinearBackwardWeights(device.stream(), shape, Typed(x), Typed(dy), alone.floats(), {}, write);
      CHECK(device.Download(alone) == device.Download(dw));
    }
  }
}

TEST_CASE("GELU over its whole range, and what is not finite stays so") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  Floats values;
  for (int i = -4000; i <= 4000; ++i) values.push_back(static_cast<float>(i) / 200);
  for (const float value : {1e-20f, -1e-20f, 100.0f, -100.0f, 1e10f, -1e10f, 1e20f, -1e20f}) values.push_back(value);
  const auto count = static_cast<std::int64_t>(values.size());
  const LinearShape shape{count, 1, 1};
  const DeviceMemory x = device.Upload(values), one = device.Upload(Floats{1}), zero = device.Upload(Floats{0});
  const DeviceMemory pre = device.Garbage(count), y = device.Garbage(count), dx = device.Garbage(count);
  const DeviceMemory dy = device.Upload(Floats(values.size(), 1.0f));
  ops.LinearGeluForward(device.stream(), shape, Typed(x), Typed(one), Typed(zero), Typed(pre), Typed(y));
  const Doubles expected = reference::GeluForward(ToDoubles(values));
  RequireClose(device.Download(y), expected, Magnitudes(ToDoubles(values)), 4);
  ops.LinearGeluBackwardData(device.stream(), shape, Typed(dy), Typed(one), Typed(pre), Typed(dx));
  const Doubles ones(values.size(), 1.0);
  RequireClose(device.Download(dx), reference::GeluBackward(ToDoubles(values), ones), Constant(values.size(), 8), 16);

  const DeviceMemory bad = device.Upload(Floats{kNan, kInf, -kInf});
  ops.LinearGeluForward(device.stream(), {3, 1, 1}, Typed(bad), Typed(one), Typed(zero), Typed(pre), Typed(y));
  const Floats results = device.Download(y);
  for (std::size_t i = 0; i < 3; ++i) CHECK_FALSE(std::isfinite(results[i]));
}

TEST_CASE("softmax cross-entropy with padding columns, in place") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  for (const LogitsShape& shape :
       {LogitsShape{1, 1, 1}, {3, 5, 8}, {7, 1000, 1024}, {2, 5003, 5056}, {5, 64, 64}, {4, 15, 17}}) {
    INFO(shape.rows << " x " << shape.classes << " of " << shape.columns);
    constexpr float kSpread = 20, kScale = 0.25f;
    Floats z = RandomFloats(shape.rows * shape.columns, 1);
    for (float& value : z) value *= kSpread;
    std::vector<std::int32_t> names;
    for (std::int64_t row = 0; row < shape.rows; ++row) {
      names.push_back(static_cast<std::int32_t>((row * 3 + 1) % shape.classes));
      // One row is right; NaN in the padding is nobody's business.
      if (row == 0) z[static_cast<std::size_t>(names[0])] = kSpread + 1;
      if (shape.columns > shape.classes) z[static_cast<std::size_t>(row * shape.columns + shape.classes)] = kNan;
    }
    const reference::Loss expected = reference::PaddedSoftmaxCrossEntropy(shape, ToDoubles(z), names, kScale);
    const DeviceMemory logits = device.Upload(z), labels = device.Upload(names), sum = device.Garbage<LossSum>(1);
    for (const bool gradient : {false, true}) {
      ops.SoftmaxCrossEntropy(device.stream(), shape, Typed(logits), labels.as<const std::int32_t>(), kScale,
                              gradient ? Typed(logits) : TypedPtr(), sum.as<LossSum>());
      const LossSum result = device.Download<LossSum>(sum)[0];
      CHECK(result.correct == expected.correct);
      CHECK(result.loss_sum == Approx(expected.loss_sum).epsilon(1e-5));
    }
    RequireClose(device.Download(logits), expected.dlogits, Constant(z.size(), kScale * kSpread), 64);
  }
}

TEST_CASE("softmax cross-entropy: the first of equal logits is the answer; NaN and +Inf make the loss NaN") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  const DeviceMemory sum = device.Garbage<LossSum>(1);
  const auto run = [&](const Floats& z, std::int32_t label) {
    const auto classes = static_cast<std::int64_t>(z.size());
    const DeviceMemory logits = device.Upload(z), labels = device.Upload(std::vector<std::int32_t>{label});
    ops.SoftmaxCrossEntropy(device.stream(), {1, classes, classes}, Typed(logits), labels.as<const std::int32_t>(), 1,
                            {}, sum.as<LossSum>());
    return device.Download<LossSum>(sum)[0];
  };
  CHECK(run({1, 2, 2}, 1).correct == 1);
  CHECK(run({1, 2, 2}, 2).correct == 0);
  CHECK(run({0, -kInf}, 0).loss_sum == Approx(0.0).margin(1e-6));
  for (std::size_t place = 0; place < 40; ++place) {
    Floats z(40, 0.5f);
    z[place] = kNan;
    CHECK(std::isnan(run(z, 7).loss_sum));
    z[place] = kInf;
    CHECK(std::isnan(run(z, 7).loss_sum));
  }
}

TEST_CASE("bfloat16 on the cpu backend is one clear error of the stream, and nothing is computed") {
  DeviceFixture device;
  TransformerOps& ops = device.backend().transformer_ops();
  CHECK(ops.data_type() == DataType::kF32);
  const DeviceMemory x = device.Upload(Floats{1, 2, 3, 4}), y = device.Upload(Floats{5, 6, 7, 8});
  ops.Cast(device.stream(), 4, Typed(x), {y.as<void>(), DataType::kBf16});
  const absl::Status status = device.stream().Synchronize();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(status.message()), Catch::Contains("bfloat16") && Catch::Contains("float32 alone"));
  CHECK(device.Download(y) == Floats{5, 6, 7, 8});
  ops.Cast(device.stream(), 4, Typed(x), Typed(y));
  CHECK(device.Download(y) == Floats{1, 2, 3, 4});
}

}  // namespace
}  // namespace leeway
