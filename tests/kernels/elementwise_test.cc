// ReLU, pooling, softmax cross-entropy and the vector ops against the reference, over odd sizes.
#include <limits>

#include "kernels/reference/reference.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::int64_t kSizes[] = {1, 7, 16, 17, 33, 1000, 4099};

Floats ToFloats(const Doubles& values) { return {values.begin(), values.end()}; }

TEST_CASE("ReLU forward and backward, also in place") {
  DeviceFixture device;
  for (const std::int64_t size : kSizes) {
    Floats x = RandomFloats(size, 1);
    x[0] = 0.0f;
    const Floats dy = RandomFloats(size, 2);
    const auto count = static_cast<std::size_t>(size);
    const DeviceMemory y = device.Upload(x), dx = device.Upload(dy);
    device.ops().ReluForward(device.stream(), count, y.floats(), y.floats());
    device.ops().ReluBackward(device.stream(), count, y.floats(), dx.floats(), dx.floats());
    const Doubles expected = reference::ReluForward(ToDoubles(x));
    CHECK(device.Download(y) == ToFloats(expected));
    CHECK(device.Download(dx) == ToFloats(reference::ReluBackward(expected, ToDoubles(dy))));
  }
}

TEST_CASE("ReLU keeps NaN") {
  DeviceFixture device;
  const DeviceMemory y = device.Upload(Floats(33, kNan));
  device.ops().ReluForward(device.stream(), 33, y.floats(), y.floats());
  for (const float value : device.Download(y)) CHECK(std::isnan(value));
}

TEST_CASE("max pooling forward and backward: odd images, ties, NaN") {
  DeviceFixture device;
  const ImageShape shapes[] = {{1, 2, 2, 1}, {2, 3, 5, 7}, {3, 28, 28, 16}, {1, 14, 15, 33}, {2, 7, 4, 17}};
  for (const ImageShape& shape : shapes) {
    for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
      INFO(shape.batch << " x " << shape.height << " x " << shape.width << " x " << shape.channels);
      Floats image = RandomFloats(shape.elements(), 1);
      // Coarse numbers give windows with ties, and zeros.
      for (float& value : image) value = std::round(value * 4) / 4;
      image[image.size() / 2] = kNan;
      const reference::Pooled expected = reference::MaxPoolForward(shape, ToDoubles(image), activation);
      const auto outputs = static_cast<std::int64_t>(expected.y.size());
      const Floats gradient = RandomFloats(outputs, 2);

      const DeviceMemory x = device.Upload(image), y = device.Garbage(outputs), dy = device.Upload(gradient);
      const DeviceMemory choice = device.Garbage<std::int32_t>(outputs), dx = device.Garbage(shape.elements());
      const auto choices = choice.as<std::int32_t>();
      device.ops().MaxPoolForward(device.stream(), shape, x.floats(), y.floats(), choices, activation);
      device.ops().MaxPoolBackward(device.stream(), shape, dy.floats(), choices, dx.floats());
      RequireClose(device.Download(y), expected.y, Doubles(expected.y.size(), 0.0), 0);
      CHECK(device.Download<std::int32_t>(choice) == expected.choice);
      CHECK(device.Download(dx) == ToFloats(reference::MaxPoolBackward(shape, ToDoubles(gradient), expected.choice)));
    }
  }
}

TEST_CASE("softmax cross-entropy: loss, correct and gradient match the reference") {
  DeviceFixture device;
  const struct {
    std::int64_t batch, classes;
    float spread;  // of the logits
  } tests[] = {{1, 2, 1}, {7, 10, 5}, {17, 33, 50}, {128, 10, 1000}, {3, 1, 1}};
  for (const auto& test : tests) {
    INFO(test.batch << " x " << test.classes << ", spread " << test.spread);
    Floats z = RandomFloats(test.batch * test.classes, 1);
    for (float& value : z) value *= test.spread;
    std::vector<std::int32_t> labels;
    for (std::int64_t row = 0; row < test.batch; ++row) {
      labels.push_back(static_cast<std::int32_t>((row * 3 + 1) % test.classes));
    }
    const float scale = 0.25f;
    const reference::Loss expected =
        reference::SoftmaxCrossEntropy(test.batch, test.classes, ToDoubles(z), labels, scale);

    const DeviceMemory logits = device.Upload(z), label = device.Upload(labels);
    const DeviceMemory dlogits = device.Garbage(test.batch * test.classes), sum = device.Garbage<LossSum>(1);
    const auto run = [&](DevicePtr<float> gradient) {
      device.ops().SoftmaxCrossEntropy(device.stream(), test.batch, test.classes, logits.floats(),
                                       label.as<const std::int32_t>(), scale, gradient, sum.as<LossSum>());
      const LossSum result = device.Download<LossSum>(sum)[0];
      CHECK(result.correct == expected.correct);
      // Each exponential is off by about the rounding of z - max, an absolute error of spread * 2^-23.
      CHECK(result.loss_sum ==
            Approx(expected.loss_sum).epsilon(1e-5).margin(test.batch * (test.spread + 1) * 0x1.0p-22));
    };
    run(dlogits.floats());
    const Doubles magnitude(expected.dlogits.size(), scale * (test.spread + 1));
    RequireClose(device.Download(dlogits), expected.dlogits, magnitude, test.classes);
    run({});               // without a gradient
    run(logits.floats());  // in place
    CHECK(device.Download(logits) == device.Download(dlogits));
  }
}

TEST_CASE("a label that names no class is an error of the stream, with its row and value") {
  DeviceFixture device;
  for (const std::int32_t bad : {-1, 10}) {
    const DeviceMemory logits = device.Upload(Floats(20, 0.0f));
    const DeviceMemory labels = device.Upload(std::vector<std::int32_t>{9, bad});
    const DeviceMemory sum = device.Garbage<LossSum>(1);
    device.ops().SoftmaxCrossEntropy(device.stream(), 2, 10, logits.floats(), labels.as<const std::int32_t>(), 1.0f, {},
                                     sum.as<LossSum>());
    const absl::Status status = device.stream().Synchronize();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains("row 1") && Catch::Contains(std::to_string(bad)));
  }
}

TEST_CASE("a NaN or an infinity in the logits gives a NaN loss") {
  DeviceFixture device;
  for (const float bad : {kNan, kInf}) {
    for (std::size_t place = 0; place < 4; ++place) {
      Floats z(4, 0.5f);
      z[place] = bad;
      const DeviceMemory logits = device.Upload(z), labels = device.Upload(std::vector<std::int32_t>{1});
      const DeviceMemory sum = device.Garbage<LossSum>(1);
      device.ops().SoftmaxCrossEntropy(device.stream(), 1, 4, logits.floats(), labels.as<const std::int32_t>(), 1.0f,
                                       {}, sum.as<LossSum>());
      CHECK(std::isnan(device.Download<LossSum>(sum)[0].loss_sum));
    }
  }
}

TEST_CASE("fill, scale, axpy and squared norm") {
  DeviceFixture device;
  for (const std::int64_t size : kSizes) {
    const auto count = static_cast<std::size_t>(size);
    const Floats a = RandomFloats(size, 1), b = RandomFloats(size, 2);
    const DeviceMemory x = device.Upload(a), y = device.Upload(b), norm = device.Garbage<double>(1);
    device.ops().Axpy(device.stream(), count, -0.3f, x.floats(), y.floats());
    device.ops().SquaredNorm(device.stream(), count, x.floats(), norm.as<double>());
    double squares = 0;
    Doubles sum(count), magnitude(count);
    for (std::size_t i = 0; i < count; ++i) {
      squares += static_cast<double>(a[i]) * a[i];
      sum[i] = static_cast<double>(b[i]) - static_cast<double>(0.3f) * a[i];
      magnitude[i] = std::abs(b[i]) + 0.3 * std::abs(a[i]);
    }
    RequireClose(device.Download(y), sum, magnitude, 2);
    CHECK(device.Download<double>(norm)[0] == Approx(squares).epsilon(1e-13));

    device.ops().Scale(device.stream(), count, 2.0f, x.floats());
    Floats doubled = a;
    for (float& value : doubled) value *= 2;
    CHECK(device.Download(x) == doubled);
    device.ops().Fill(device.stream(), count, -1.5f, x.floats());
    CHECK(device.Download(x) == Floats(count, -1.5f));
  }
}

TEST_CASE("the finite check finds the first bad index") {
  DeviceFixture device;
  Floats values(100, std::numeric_limits<float>::max());
  const DeviceMemory index = device.Garbage<std::int64_t>(1);
  const auto check = [&] {
    const DeviceMemory x = device.Upload(values);
    device.ops().FindNonFinite(device.stream(), values.size(), x.floats(), index.as<std::int64_t>());
    return device.Download<std::int64_t>(index)[0];
  };
  CHECK(check() == -1);
  values[99] = -kInf;
  CHECK(check() == 99);
  values[42] = kNan;
  CHECK(check() == 42);
}

}  // namespace
}  // namespace leeway
