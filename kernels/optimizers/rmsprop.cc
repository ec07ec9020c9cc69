#include "kernels/optimizers/rmsprop.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(RmspropRule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights,
          float* __restrict square) {
  for (std::size_t i = 0; i < count; ++i) weights[i] = rule(weights[i], gradient[i], square[i]);
}

}  // namespace

RmspropRule Rmsprop::Rule(const StepArgs& args) const {
  return {.scale = static_cast<float>(args.gradient_scale),
          .weight_decay = static_cast<float>(args.weight_decay),
          .rate = static_cast<float>(args.rate),
          .rho = static_cast<float>(rho_),
          .one_minus_rho = static_cast<float>(1 - rho_),
          .epsilon = static_cast<float>(epsilon_)};
}

void Rmsprop::Step(const StepArgs& args) const {
  Loop(Rule(args), args.count, args.gradient, args.weights, args.slots[0]);
}

}  // namespace leeway
