// Attention against the reference: sizes around the blocks in which it is computed, and odd ones.
#include <algorithm>
#include <limits>

#include "kernels/reference/transformer.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

TypedPtr Typed(const DeviceMemory& memory) { return {memory.as<void>(), DataType::kF32}; }

const AttentionShape kShapes[] = {{1, 1, 1, 1},  {1, 2, 1, 3},   {2, 5, 3, 7},    {1, 63, 2, 16}, {1, 64, 1, 64},
                                  {2, 65, 1, 8}, {1, 129, 2, 5}, {1, 200, 1, 32}, {3, 17, 4, 1}};

// The most that a score can be off is in proportion to this.
double LargestScore(const AttentionShape& shape, const Floats& qkv) {
  double largest = 0;
  for (const float value : qkv) largest = std::max<double>(largest, std::abs(value));
  return largest * largest * std::sqrt(static_cast<double>(shape.head_size));
}

struct Ran {
  Floats y, lse, dqkv;
};

Ran Run(DeviceFixture& device, const AttentionShape& shape, const Floats& qkv, const Floats& dy) {
  TransformerOps& ops = device.backend().transformer_ops();
  const std::int64_t outputs = shape.batch * shape.length * shape.width();
  const DeviceMemory in = device.Upload(qkv), gradient = device.Upload(dy);
  const DeviceMemory y = device.Garbage(outputs), lse = device.Garbage(shape.batch * shape.heads * shape.length);
  const DeviceMemory dqkv = device.Garbage(3 * outputs);
  ops.AttentionForward(device.stream(), shape, Typed(in), Typed(y), lse.floats());
  ops.AttentionBackward(device.stream(), shape, Typed(in), Typed(y), lse.floats(), Typed(gradient), Typed(dqkv));
  return {device.Download(y), device.Download(lse), device.Download(dqkv)};
}

TEST_CASE("attention forward and backward match the reference") {
  DeviceFixture device;
  for (const float spread : {1.0f, 4.0f}) {
    for (const AttentionShape& shape : kShapes) {
      INFO(shape.batch << " x " << shape.length << ", " << shape.heads << " heads of " << shape.head_size);
      const std::int64_t outputs = shape.batch * shape.length * shape.width();
      Floats qkv = RandomFloats(3 * outputs, 1);
      for (float& value : qkv) value *= spread;
      const Floats dy = RandomFloats(outputs, 2);
      const Ran ran = Run(device, shape, qkv, dy);
      const reference::Attended expected = reference::AttentionForward(shape, ToDoubles(qkv));
      const Doubles dqkv = reference::AttentionBackward(shape, ToDoubles(qkv), ToDoubles(dy));
      const double score = LargestScore(shape, qkv) + 1;
      const std::int64_t length = shape.head_size + 8;
      RequireClose(ran.lse, expected.lse, Doubles(ran.lse.size(), score), length);
      RequireClose(ran.y, expected.y, Doubles(ran.y.size(), score * spread), length);
      // dk and dv sum over the queries, each with an error of that size.
      const double sums = std::sqrt(static_cast<double>(shape.length));
      RequireClose(ran.dqkv, dqkv, Doubles(dqkv.size(), score * spread * spread * sums), length);
    }
  }
}

TEST_CASE("attention gives the same bits each time, and no position sees its future") {
  DeviceFixture device;
  const AttentionShape shape{2, 100, 2, 9};
  const std::int64_t outputs = 2 * 100 * 18;
  Floats qkv = RandomFloats(3 * outputs, 1);
  const Floats dy = RandomFloats(outputs, 2);
  const Ran first = Run(device, shape, qkv, dy), second = Run(device, shape, qkv, dy);
  CHECK(first.y == second.y);
  CHECK(first.lse == second.lse);
  CHECK(first.dqkv == second.dqkv);
  // The last position of the first sequence changes: no earlier output does, not in a bit.
  for (std::size_t i = 99 * 54; i < 100 * 54; ++i) qkv[i] += 1;
  const Ran changed = Run(device, shape, qkv, dy);
  CHECK(std::equal(first.y.begin(), first.y.begin() + 99 * 18, changed.y.begin()));
  CHECK(first.y[99 * 18] != changed.y[99 * 18]);
}

TEST_CASE("attention: large scores do not overflow, and NaN is not hidden") {
  DeviceFixture device;
  const AttentionShape shape{1, 3, 1, 2};
  Floats qkv(18, 100.0f);  // scores of 14142
  Ran ran = Run(device, shape, qkv, Floats(6, 1.0f));
  for (const float value : ran.y) CHECK(value == Approx(100.0));
  qkv[6] = std::numeric_limits<float>::quiet_NaN();  // a query of position 1
  ran = Run(device, shape, qkv, Floats(6, 1.0f));
  CHECK(std::isfinite(ran.y[0]));
  CHECK(std::isnan(ran.y[2]));
  CHECK(std::isnan(ran.lse[1]));
  CHECK(std::isnan(ran.dqkv[6]));
}

}  // namespace
}  // namespace leeway
