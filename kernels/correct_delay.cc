#include "kernels/correct_delay.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(float lambda, const float* __restrict gradient, const float* __restrict weights, const float* __restrict base,
          std::size_t count, float* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = CorrectedDelay(lambda, gradient[i], weights[i], base[i]);
}

}  // namespace

void CorrectDelay(float lambda, const float* gradient, const float* weights, const float* base, std::size_t count,
                  float* out) {
  Loop(lambda, gradient, weights, base, count, out);
}

}  // namespace leeway
