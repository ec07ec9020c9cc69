#include "cli/bench/axpy.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

// Without AVX-512, which the optimizers have: 256-bit vectors moved 5 to 10 % more on a CPU that executes 512-bit ones
// in two halves, and a baseline has to be the best there is.
#if LEEWAY_HAS_TARGET_CLONES
__attribute__((target_clones("arch=x86-64-v3", "default")))
#endif
void Loop(float a, const float* __restrict x, std::size_t count, float* __restrict y) {
  for (std::size_t i = 0; i < count; ++i) y[i] += a * x[i];
}

}  // namespace

void Axpy(float a, const float* x, std::size_t count, float* y) { Loop(a, x, count, y); }

}  // namespace leeway
