// 3x3 convolutions against the reference, over odd images and channel counts and the sizes of the cnn model.
#include "kernels/reference/reference.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

struct Case {
  ImageShape shape;
  std::int64_t out_channels;
};

// The first layer of grey images has kernels of its own: {28, 28, 1} to 16.
const Case kCases[] = {{{1, 1, 1, 1}, 1},     {{2, 5, 7, 1}, 16},  {{3, 28, 28, 1}, 16},
                       {{2, 14, 14, 16}, 32}, {{1, 7, 3, 17}, 33}, {{5, 4, 9, 3}, 7},
                       {{2, 9, 4, 1}, 17},    {{4, 6, 6, 8}, 16},  {{1, 2, 33, 16}, 1}};

struct Data {
  explicit Data(const Case& test)
      : x(RandomFloats(test.shape.elements(), 1)),
        w(RandomFloats(test.out_channels * test.shape.channels * 9, 2)),
        bias(RandomFloats(test.out_channels, 3)),
        dy(RandomFloats(test.shape.pixels() * test.out_channels, 4)) {}
  Floats x, w, bias, dy;
};

// Made for a batch one larger than the test's, so that the primitives are not those that were prepared.
std::unique_ptr<Conv3x3> Make(DeviceFixture& device, const Case& test) {
  ImageShape largest = test.shape;
  ++largest.batch;
  absl::StatusOr<std::unique_ptr<Conv3x3>> made = device.ops().NewConv3x3(largest, test.out_channels);
  REQUIRE(made.ok());
  return std::move(made).value();
}

#define INFO_CASE(test)                                                                                            \
  INFO(test.shape.batch << " x " << test.shape.height << " x " << test.shape.width << " x " << test.shape.channels \
                        << " -> " << test.out_channels)

TEST_CASE("convolution forward matches the reference") {
  DeviceFixture device;
  for (const Case& test : kCases) {
    INFO_CASE(test);
    const Data data(test);
    const DeviceMemory x = device.Upload(data.x), w = device.Upload(data.w), bias = device.Upload(data.bias);
    const DeviceMemory y = device.Garbage(test.shape.pixels() * test.out_channels);
    const auto convolution = Make(device, test);
    convolution->Forward(device.stream(), test.shape.batch, x.floats(), w.floats(), bias.floats(), y.floats());
    const Doubles dx = ToDoubles(data.x), dw = ToDoubles(data.w), db = ToDoubles(data.bias);
    RequireClose(
        device.Download(y), reference::Conv3x3Forward(test.shape, test.out_channels, dx, dw, db),
        reference::Conv3x3Forward(test.shape, test.out_channels, Magnitudes(dx), Magnitudes(dw), Magnitudes(db)),
        9 * test.shape.channels);
  }
}

TEST_CASE("convolution backward data matches the reference") {
  DeviceFixture device;
  for (const Case& test : kCases) {
    INFO_CASE(test);
    const Data data(test);
    const DeviceMemory dy = device.Upload(data.dy), w = device.Upload(data.w);
    const DeviceMemory dx = device.Garbage(test.shape.elements());
    const auto convolution = Make(device, test);
    convolution->BackwardData(device.stream(), test.shape.batch, dy.floats(), w.floats(), dx.floats());
    const Doubles ddy = ToDoubles(data.dy), dw = ToDoubles(data.w);
    RequireClose(device.Download(dx), reference::Conv3x3BackwardData(test.shape, test.out_channels, ddy, dw),
                 reference::Conv3x3BackwardData(test.shape, test.out_channels, Magnitudes(ddy), Magnitudes(dw)),
                 9 * test.out_channels);
  }
}

TEST_CASE("convolution backward weights matches the reference, overwriting and adding to what is there") {
  DeviceFixture device;
  for (const Case& test : kCases) {
    for (const Write write : {Write::kOverwrite, Write::kAdd}) {
      INFO_CASE(test);
      const Data data(test);
      const DeviceMemory x = device.Upload(data.x), dy = device.Upload(data.dy);
      const DeviceMemory dw = device.Upload(data.w), dbias = device.Upload(data.bias);
      const auto convolution = Make(device, test);
      convolution->BackwardWeights(device.stream(), test.shape.batch, x.floats(), dy.floats(), dw.floats(),
                                   dbias.floats(), write);
      const Doubles dx = ToDoubles(data.x), ddy = ToDoubles(data.dy);
      reference::WeightGradients expected = reference::Conv3x3BackwardWeights(test.shape, test.out_channels, dx, ddy);
      reference::WeightGradients size =
          reference::Conv3x3BackwardWeights(test.shape, test.out_channels, Magnitudes(dx), Magnitudes(ddy));
      if (write == Write::kAdd) {
        for (std::size_t i = 0; i < data.w.size(); ++i) expected.dw[i] += data.w[i], size.dw[i] += std::abs(data.w[i]);
        for (std::size_t i = 0; i < data.bias.size(); ++i) {
          expected.dbias[i] += data.bias[i], size.dbias[i] += std::abs(data.bias[i]);
        }
      }
      RequireClose(device.Download(dw), expected.dw, size.dw, test.shape.pixels());
      RequireClose(device.Download(dbias), expected.dbias, size.dbias, test.shape.pixels());
    }
  }
}

TEST_CASE("one convolution serves many batch sizes, the largest again last") {
  DeviceFixture device;
  const Case test{{100, 3, 3, 2}, 4};
  const Data data(test);
  const DeviceMemory x = device.Upload(data.x), w = device.Upload(data.w), bias = device.Upload(data.bias);
  const DeviceMemory y = device.Garbage(test.shape.pixels() * test.out_channels);
  absl::StatusOr<std::unique_ptr<Conv3x3>> convolution = device.ops().NewConv3x3(test.shape, test.out_channels);
  REQUIRE(convolution.ok());
  const Doubles dx = ToDoubles(data.x), dw = ToDoubles(data.w), db = ToDoubles(data.bias);
  const Doubles expected = reference::Conv3x3Forward(test.shape, test.out_channels, dx, dw, db);
  const Doubles size =
      reference::Conv3x3Forward(test.shape, test.out_channels, Magnitudes(dx), Magnitudes(dw), Magnitudes(db));
  for (std::int64_t batch = 1; batch <= test.shape.batch; ++batch) {
    (*convolution)->Forward(device.stream(), batch, x.floats(), w.floats(), bias.floats(), y.floats());
  }
  RequireClose(device.Download(y), expected, size, 9 * test.shape.channels);
}

}  // namespace
}  // namespace leeway
