#include "kernels/cpu/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/lanes.h"
#include "kernels/target_clones.h"

namespace leeway {
namespace {

using loops::LaneSum;

constexpr float kEpsilon = 1e-5f;

}  // namespace

LEEWAY_TARGET_CLONES void CpuLayerNormForward(const NormShape& shape, const float* x, const float* gain,
                                              const float* bias, float* y, float* mean, float* rstd) {
  const std::int64_t width = shape.width;
  const float share = 1.0f / static_cast<float>(width);
  for (std::int64_t row = 0; row < shape.rows; ++row, x += width, y += width) {
    const float m = LaneSum(width, [x](std::int64_t i) { return x[i]; }) * share;
    // The squares of x - mean, not the mean of x^2 less mean^2: that difference loses every digit of a row whose mean
    // is large against its deviation.
    const float variance = LaneSum(width, [x, m](std::int64_t i) { return (x[i] - m) * (x[i] - m); }) * share;
    const float r = 1.0f / std::sqrt(variance + kEpsilon);
    for (std::int64_t i = 0; i < width; ++i) y[i] = (x[i] - m) * r * gain[i] + bias[i];
    mean[row] = m;
    rstd[row] = r;
  }
}

LEEWAY_TARGET_CLONES void CpuLayerNormBackward(const NormShape& shape, const float* x, const float* gain,
                                               const float* mean, const float* rstd, const float* dy, float* dx,
                                               Write write_dx, float* dgain, float* dbias, Write write) {
  const std::int64_t width = shape.width;
  const float share = 1.0f / static_cast<float>(width);
  if (write == Write::kOverwrite) {
    std::fill_n(dgain, width, 0.0f);
    std::fill_n(dbias, width, 0.0f);
  }
  if (write_dx == Write::kOverwrite) std::fill_n(dx, shape.rows * width, 0.0f);
  for (std::int64_t row = 0; row < shape.rows; ++row, x += width, dy += width, dx += width) {
    const float m = mean[row], r = rstd[row];
    const float mean_g = LaneSum(width, [=](std::int64_t i) { return dy[i] * gain[i]; }) * share;
    const float mean_gn = LaneSum(width, [=](std::int64_t i) { return dy[i] * gain[i] * ((x[i] - m) * r); }) * share;
    for (std::int64_t i = 0; i < width; ++i) {
      const float n = (x[i] - m) * r;
      dx[i] += r * (dy[i] * gain[i] - mean_g - n * mean_gn);
      dgain[i] += dy[i] * n;
      dbias[i] += dy[i];
    }
  }
}

}  // namespace leeway
