// The linear layer's three products against the reference, over sizes that are multiples of nothing.
#include "kernels/reference/reference.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

const LinearShape kShapes[] = {{1, 1, 1},   {1, 7, 17},   {7, 1, 10},    {17, 33, 1},  {33, 17, 7},
                               {8, 16, 16}, {5, 100, 65}, {64, 129, 31}, {3, 785, 10}, {130, 40, 257}};

struct Data {
  explicit Data(const LinearShape& shape)
      : x(RandomFloats(shape.batch * shape.in, 1)),
        w(RandomFloats(shape.out * shape.in, 2)),
        bias(RandomFloats(shape.out, 3)),
        dy(RandomFloats(shape.batch * shape.out, 4)) {}
  Floats x, w, bias, dy;
};

TEST_CASE("linear forward matches the reference, with and without ReLU") {
  DeviceFixture device;
  for (const LinearShape& shape : kShapes) {
    for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
      INFO(shape.batch << " x " << shape.in << " -> " << shape.out);
      const Data data(shape);
      const DeviceMemory x = device.Upload(data.x), w = device.Upload(data.w), bias = device.Upload(data.bias);
      const DeviceMemory y = device.Garbage(shape.batch * shape.out);
      device.ops().LinearForward(device.stream(), shape, x.floats(), w.floats(), bias.floats(), y.floats(), activation);
      const Doubles dx = ToDoubles(data.x), dw = ToDoubles(data.w), db = ToDoubles(data.bias);
      RequireClose(device.Download(y), reference::LinearForward(shape, dx, dw, db, activation),
                   reference::LinearForward(shape, Magnitudes(dx), Magnitudes(dw), Magnitudes(db), Activation::kNone),
                   shape.in);
    }
  }
}

TEST_CASE("linear backward data matches the reference") {
  DeviceFixture device;
  for (const LinearShape& shape : kShapes) {
    INFO(shape.batch << " x " << shape.in << " -> " << shape.out);
    const Data data(shape);
    const DeviceMemory dy = device.Upload(data.dy), w = device.Upload(data.w);
    const DeviceMemory dx = device.Garbage(shape.batch * shape.in);
    device.ops().LinearBackwardData(device.stream(), shape, dy.floats(), w.floats(), dx.floats());
    const Doubles ddy = ToDoubles(data.dy), dw = ToDoubles(data.w);
    RequireClose(device.Download(dx), reference::LinearBackwardData(shape, ddy, dw),
                 reference::LinearBackwardData(shape, Magnitudes(ddy), Magnitudes(dw)), shape.out);
  }
}

TEST_CASE("linear backward weights matches the reference, overwriting and adding to what is there") {
  DeviceFixture device;
  for (const LinearShape& shape : kShapes) {
    for (const Write write : {Write::kOverwrite, Write::kAdd}) {
      INFO(shape.batch << " x " << shape.in << " -> " << shape.out);
      const Data data(shape);
      const DeviceMemory x = device.Upload(data.x), dy = device.Upload(data.dy);
      const DeviceMemory dw = device.Upload(data.w), dbias = device.Upload(data.bias);
      device.ops().LinearBackwardWeights(device.stream(), shape, x.floats(), dy.floats(), dw.floats(), dbias.floats(),
                                         write);
      const Doubles dx = ToDoubles(data.x), ddy = ToDoubles(data.dy);
      reference::WeightGradients expected = reference::LinearBackwardWeights(shape, dx, ddy);
      reference::WeightGradients size = reference::LinearBackwardWeights(shape, Magnitudes(dx), Magnitudes(ddy));
      if (write == Write::kAdd) {
        for (std::size_t i = 0; i < data.w.size(); ++i) expected.dw[i] += data.w[i], size.dw[i] += std::abs(data.w[i]);
        for (std::size_t i = 0; i < data.bias.size(); ++i) {
          expected.dbias[i] += data.bias[i], size.dbias[i] += std::abs(data.bias[i]);
        }
      }
      RequireClose(device.Download(dw), expected.dw, size.dw, shape.batch);
      RequireClose(device.Download(dbias), expected.dbias, size.dbias, shape.batch);
    }
  }
}

TEST_CASE("products are kept for each shape: more shapes than are kept still give the right results") {
  DeviceFixture device;
  const DeviceMemory x = device.Upload(Floats(700, 1.0f)), w = device.Upload(Floats(1, 2.0f));
  const DeviceMemory bias = device.Upload(Floats(1, 0.5f)), y = device.Garbage(700);
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t batch = 1; batch <= 700; ++batch) {
      device.ops().LinearForward(device.stream(), {batch, 1, 1}, x.floats(), w.floats(), bias.floats(), y.floats(),
                                 Activation::kNone);
    }
    CHECK(device.Download(y) == Floats(700, 2.5f));
  }
}

TEST_CASE("NaN and Inf pass through the products: nothing hides them") {
  DeviceFixture device;
  const LinearShape shape{2, 3, 2};
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const DeviceMemory x = device.Upload(Floats{1, nan, 1, 1, inf, 1});
  const DeviceMemory w = device.Upload(Floats(6, 1.0f)), bias = device.Upload(Floats(2, 0.0f));
  const DeviceMemory y = device.Garbage(4);
  for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
    device.ops().LinearForward(device.stream(), shape, x.floats(), w.floats(), bias.floats(), y.floats(), activation);
    const Floats values = device.Download(y);
    CHECK(std::isnan(values[0]));
    CHECK(std::isnan(values[1]));
    CHECK(values[2] == inf);
    CHECK(values[3] == inf);
  }
}

}  // namespace
}  // namespace leeway
