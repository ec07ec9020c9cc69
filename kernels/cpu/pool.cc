#include "kernels/cpu/pool.h"

#include <algorithm>

#include "kernels/target_clones.h"

namespace leeway {
namespace {

constexpr std::uint8_t kCutOff = 4;

}  // namespace

LEEWAY_TARGET_CLONES void CpuMaxPoolForward(const ImageShape& shape, const float* x, float* y, std::uint8_t* choice,
                                            Activation activation) {
  const std::int64_t channels = shape.channels, row = shape.width * channels;
  const bool relu = activation == Activation::kRelu;
  for (std::int64_t image = 0; image < shape.batch; ++image) {
    for (std::int64_t i = 0; i < shape.height / 2; ++i) {
      const float* window = x + (image * shape.height + 2 * i) * row;
      for (std::int64_t j = 0; j < shape.width / 2; ++j) {
        for (std::int64_t c = 0; c < channels; ++c) {
          const float candidates[4] = {window[c], window[channels + c], window[row + c], window[row + channels + c]};
          float best = candidates[0];
          std::int32_t which = 0;
          for (std::int32_t k = 1; k < 4; ++k) {
            // A NaN wins and stays, as in PyTorch: it must not vanish in a pool.
            const bool better = candidates[k] > best || candidates[k] != candidates[k];
            best = better ? candidates[k] : best;
            which = better ? k : which;
          }
          const bool cut = relu && best <= 0.0f;
          y[c] = cut ? 0.0f : best;
          choice[c] = static_cast<std::uint8_t>(cut ? kCutOff : which);
        }
        window += 2 * channels;
        y += channels;
        choice += channels;
      }
    }
  }
}

LEEWAY_TARGET_CLONES void CpuMaxPoolBackward(const ImageShape& shape, const float* dy, const std::uint8_t* choice,
                                             float* dx) {
  const std::int64_t channels = shape.channels, row = shape.width * channels;
  for (std::int64_t image = 0; image < shape.batch; ++image) {
    float* plane = dx + image * shape.height * row;
    for (std::int64_t i = 0; i < shape.height / 2; ++i) {
      float* window = plane + 2 * i * row;
      for (std::int64_t j = 0; j < shape.width / 2; ++j) {
        for (std::int64_t c = 0; c < channels; ++c) {
          const std::int32_t which = choice[c];
          window[c] = which == 0 ? dy[c] : 0.0f;
          window[channels + c] = which == 1 ? dy[c] : 0.0f;
          window[row + c] = which == 2 ? dy[c] : 0.0f;
          window[row + channels + c] = which == 3 ? dy[c] : 0.0f;
        }
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
