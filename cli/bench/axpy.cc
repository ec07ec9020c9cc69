#include "cli/bench/axpy.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(float a, const float* __restrict x, std::size_t count, float* __restrict y) {
  for (std::size_t i = 0; i < count; ++i) y[i] += a * x[i];
}

}  // namespace

void Axpy(float a, const float* x, std::size_t count, float* y) { Loop(a, x, count, y); }

}  // namespace leeway
