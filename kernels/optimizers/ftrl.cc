#include "kernels/optimizers/ftrl.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(FtrlRule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights,
          float* __restrict z, float* __restrict n) {
  for (std::size_t i = 0; i < count; ++i) weights[i] = rule(weights[i], gradient[i], z[i], n[i]);
}

}  // namespace

FtrlRule Ftrl::Rule(const StepArgs& args) const {
  const double l2 = parameters_.l2 * args.penalty_factor;
  return {.scale = static_cast<float>(args.gradient_scale),
          .weight_decay = static_cast<float>(args.weight_decay),
          .rate = static_cast<float>(args.rate),
          .base = static_cast<float>(parameters_.beta + args.rate * l2),
          .l1 = static_cast<float>(parameters_.l1 * args.penalty_factor),
          .l2 = static_cast<float>(l2)};
}

void Ftrl::Step(const StepArgs& args) const {
  Loop(Rule(args), args.count, args.gradient, args.weights, args.slots[0], args.slots[1]);
}

}  // namespace leeway
