#include "kernels/add_scaled.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(float weight, const float* __restrict x, std::size_t count, float* __restrict sum) {
  for (std::size_t i = 0; i < count; ++i) sum[i] += weight * x[i];
}

}  // namespace

void AddScaled(float weight, const float* x, std::size_t count, float* sum) { Loop(weight, x, count, sum); }

}  // namespace leeway
