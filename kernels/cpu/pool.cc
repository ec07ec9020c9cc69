#include "kernels/cpu/pool.h"

#include <algorithm>
#include <limits>

#include "kernels/target_clones.h"

namespace leeway {
namespace {

constexpr std::int32_t kCutOff = 4;

// The loops over channels. __restrict, because `choice` is bytes, which might overlap anything.

// One output pixel from the window whose upper left pixel is `window`; what is not above `floor` is cut off. Nothing
// is below a floor of NaN.
LEEWAY_INLINE void PoolPixel(std::int64_t channels, std::int64_t row, float floor, const float* __restrict window,
                             float* __restrict y, std::int32_t* __restrict choice) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const float v0 = window[c], v1 = window[channels + c], v2 = window[row + c], v3 = window[row + channels + c];
    float best = v0;
    std::int32_t which = 0;
    // A NaN wins and stays, as in PyTorch: it must not vanish in a pool.
    which = v1 > best ? 1 : (v1 != v1 ? 1 : which);
    best = v1 > best ? v1 : (v1 != v1 ? v1 : best);
    which = v2 > best ? 2 : (v2 != v2 ? 2 : which);
    best = v2 > best ? v2 : (v2 != v2 ? v2 : best);
    which = v3 > best ? 3 : (v3 != v3 ? 3 : which);
    best = v3 > best ? v3 : (v3 != v3 ? v3 : best);
    which = best <= floor ? kCutOff : which;
    y[c] = best <= floor ? floor : best;
    choice[c] = which;
  }
}

LEEWAY_INLINE void UnpoolPixel(std::int64_t channels, std::int64_t row, const float* __restrict dy,
                               const std::int32_t* __restrict choice, float* __restrict window) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const std::int32_t which = choice[c];
    const float gradient = dy[c];
    window[c] = which == 0 ? gradient : 0.0f;
    window[channels + c] = which == 1 ? gradient : 0.0f;
    window[row + c] = which == 2 ? gradient : 0.0f;
    window[row + channels + c] = which == 3 ? gradient : 0.0f;
  }
}

}  // namespace

LEEWAY_TARGET_CLONES void CpuMaxPoolForward(const ImageShape& shape, const float* x, float* y, std::int32_t* choice,
                                            Activation activation) {
  const std::int64_t channels = shape.channels, row = shape.width * channels;
  const float floor = activation == Activation::kRelu ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  for (std::int64_t image = 0; image < shape.batch; ++image) {
    for (std::int64_t i = 0; i < shape.height / 2; ++i) {
      const float* window = x + (image * shape.height + 2 * i) * row;
      for (std::int64_t j = 0; j < shape.width / 2; ++j) {
        PoolPixel(channels, row, floor, window, y, choice);
        window += 2 * channels;
        y += channels;
        choice += channels;
      }
    }
  }
}

LEEWAY_TARGET_CLONES void CpuMaxPoolBackward(const ImageShape& shape, const float* dy, const std::int32_t* choice,
                                             float* dx) {
  const std::int64_t channels = shape.channels, row = shape.width * channels;
  for (std::int64_t image = 0; image < shape.batch; ++image) {
    float* plane = dx + image * shape.height * row;
    for (std::int64_t i = 0; i < shape.height / 2; ++i) {
      float* window = plane + 2 * i * row;
      for (std::int64_t j = 0; j < shape.width / 2; ++j) {
        UnpoolPixel(channels, row, dy, choice, window);
        window += 2 * channels;
        dy += channels;
        choice += channels;
      }
      if (shape.width % 2 == 1) {
        std::fill_n(plane + 2 * i * row + row - channels, channels, 0.0f);
        std::fill_n(plane + (2 * i + 1) * row + row - channels, channels, 0.0f);
      }
    }
    if (shape.height % 2 == 1) std::fill_n(plane + (shape.height - 1) * row, row, 0.0f);
  }
}

}  // namespace leeway
