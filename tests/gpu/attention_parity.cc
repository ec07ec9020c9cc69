// Parity of attention.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/reference/transformer.h"
#include "tests/gpu/parity.h"
#include "tests/gpu/shapes.h"

namespace leeway {
namespace {

// The sums of AttentionBackward over absolute values: what roundings of the weights p and of ds are in proportion to.
Doubles BackwardMagnitude(const AttentionShape& shape, const Doubles& qkv, const reference::Attended& forward,
                          const Doubles& dy) {
  const std::int64_t width = shape.width(), size = shape.head_size;
  const double scale = 1 / std::sqrt(static_cast<double>(size));
  Doubles out(qkv.size());
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const auto at = [&](std::int64_t i, std::int64_t which) {
        return static_cast<std::size_t>(((b * shape.length + i) * 3 + which) * width + h * size);
      };
      const auto y_at = [&](std::int64_t i) {
        return static_cast<std::size_t>((b * shape.length + i) * width + h * size);
      };
      for (std::int64_t i = 0; i < shape.length; ++i) {
        const double lse = forward.lse[static_cast<std::size_t>((b * shape.heads + h) * shape.length + i)];
        double delta = 0;
        for (std::size_t d = 0; d < static_cast<std::size_t>(size); ++d) {
          delta += std::abs(dy[y_at(i) + d] * forward.y[y_at(i) + d]);
        }
        for (std::int64_t j = 0; j <= i; ++j) {
          double score = 0, dp = 0;
          for (std::size_t d = 0; d < static_cast<std::size_t>(size); ++d) {
            score += qkv[at(i, 0) + d] * qkv[at(j, 1) + d];
            dp += std::abs(dy[y_at(i) + d] * qkv[at(j, 2) + d]);
          }
          const double p = std::exp(score * scale - lse), ds = p * (dp + delta) * scale;
          for (std::size_t d = 0; d < static_cast<std::size_t>(size); ++d) {
            out[at(i, 0) + d] += ds * std::abs(qkv[at(j, 1) + d]);
            out[at(j, 1) + d] += ds * std::abs(qkv[at(i, 0) + d]);
            out[at(j, 2) + d] += p * std::abs(dy[y_at(i) + d]);
          }
        }
      }
    }
  }
  return out;
}

void Attend(Parity& parity, const AttentionShape& shape, DataType type, bool shifted) {
  TransformerOps& ops = parity.backend().transformer_ops();
  Stream& stream = parity.stream();
  const std::int64_t outputs = shape.batch * shape.length * shape.width();
  const std::string name = absl::StrCat("attention ", shape.batch, "x", shape.length, "x", shape.heads, "x",
                                        shape.head_size, type == DataType::kBf16 ? " bf16" : " f32");
  parity.Run(name, shifted, [&] {
    const double spread = 2;
    const Array qkv = parity.Random(3 * outputs, 1, type, spread), dy = parity.Random(outputs, 2, type);
    const Array y = parity.Garbage(outputs, type), lse = parity.Garbage(shape.batch * shape.heads * shape.length);
    const Array dqkv = parity.Garbage(3 * outputs, type);
    ops.AttentionForward(stream, shape, qkv.typed(), y.typed(), lse.floats());
    ops.AttentionBackward(stream, shape, qkv.typed(), y.typed(), lse.floats(), dy.typed(), dqkv.typed());
    const reference::Attended expected = reference::AttentionForward(shape, qkv.values);
    const Doubles gradient = reference::AttentionBackward(shape, qkv.values, dy.values);
    // A score, a sum of head_size products, is off by so much; exp makes it a relative error of each weight.
    const double score = spread * spread * std::sqrt(static_cast<double>(shape.head_size)) + 1;
    const std::int64_t length = shape.head_size + shape.length + 8;
    parity.Expect(lse, expected.lse, Doubles(expected.lse.size(), score), {.length = length});
    parity.Expect(y, expected.y, Doubles(expected.y.size(), score * spread),
                  {.length = length, .inner_roundings = 0.5});
    Doubles magnitude = BackwardMagnitude(shape, qkv.values, expected, dy.values);
    for (double& value : magnitude) value *= score;
    parity.Expect(dqkv, gradient, magnitude, {.length = length, .inner_roundings = 1});
  });
}

}  // namespace

void AttentionParity(Parity& parity) {
  for (const auto& row : shapes::kAttention) {
    if (row.large && parity.small()) continue;
    for (const DataType type : parity.types()) {
      for (const bool shifted : {false, true}) {
        if (!row.large || !shifted) Attend(parity, row.shape, type, shifted);
      }
    }
  }
}

}  // namespace leeway
