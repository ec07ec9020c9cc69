#include "kernels/cpu/exp_loops.h"

#include <algorithm>
#include <bit>

#include "kernels/cpu/lanes.h"
#include "kernels/target_clones.h"

namespace leeway::loops {
namespace {

// exp(x) for x up to 88.7 (above: about 2^128), 0 below -86.9; NaN stays NaN. With n the integer nearest to x / ln 2:
// 2^n times the polynomial of Cephes' expf in x - n ln 2.
LEEWAY_INLINE float Exp(float x) {
  constexpr float kLargest = 88.72f, kSmallest = -86.9f;
  const float clamped = x > kLargest ? kLargest : (x < kSmallest ? kSmallest : x);  // NaN compares false
  // Adding 1.5 * 2^23 rounds to an integer, which then is in the lowest bits.
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = clamped - n * 0.693359375f - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // 2^(n - 1) and 2: 2^128 itself is no float.
  const float power = std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) + 126u) << 23);
  return x < kSmallest ? 0.0f : p * power * 2.0f;
}

// 1 / (1 + exp(-2u)) = (1 + tanh(u)) / 2, with u as in GELU.
LEEWAY_INLINE float GeluGate(float x) {
  constexpr float kFactor = 0.7978845608028654f;  // sqrt(2 / pi)
  const float u = kFactor * (x + 0.044715f * x * x * x);
  return 1.0f / (1.0f + Exp(-2.0f * u));
}

}  // namespace

LEEWAY_TARGET_CLONES float Max(std::int64_t count, const float* x) { return LaneMax(count, x); }

LEEWAY_TARGET_CLONES double ExpSum(std::int64_t count, float scale, float shift, const float* x, float* y) {
  constexpr std::int64_t kPiece = 1024;  // summed in float32; a vocabulary's pieces in double
  double sum = 0;
  float stored[kPiece];
  for (std::int64_t first = 0; first < count; first += kPiece) {
    const std::int64_t size = std::min(kPiece, count - first);
    const float* from = x + first;
    float* to = y == nullptr ? stored : y + first;
    for (std::int64_t i = 0; i < size; ++i) to[i] = Exp(scale * from[i] - shift);
    sum += LaneSum(size, [to](std::int64_t i) { return to[i]; });
  }
  return sum;
}

LEEWAY_TARGET_CLONES void GeluForward(std::size_t count, const float* x, float* y) {
  for (std::size_t i = 0; i < count; ++i) y[i] = x[i] * GeluGate(x[i]);
}

LEEWAY_TARGET_CLONES void GeluBackward(std::size_t count, const float* x, float* dx) {
  constexpr float kFactor = 0.7978845608028654f;
  for (std::size_t i = 0; i < count; ++i) {
    const float gate = GeluGate(x[i]);
    // Beyond, the gate is 0 or 1, and its slope 0, whatever the square would overflow to.
    constexpr float kFlat = 16.0f;
    const float v = x[i] > kFlat ? kFlat : (x[i] < -kFlat ? -kFlat : x[i]);
    const float du = kFactor * (1.0f + 3.0f * 0.044715f * v * v);
    dx[i] *= gate + 2.0f * v * gate * (1.0f - gate) * du;
  }
}

}  // namespace leeway::loops
