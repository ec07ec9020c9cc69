#include "kernels/optimizers/adagrad.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(AdagradRule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights,
          float* __restrict sum) {
  for (std::size_t i = 0; i < count; ++i) weights[i] = rule(weights[i], gradient[i], sum[i]);
}

}  // namespace

AdagradRule Adagrad::Rule(const StepArgs& args) const {
  return {.scale = static_cast<float>(args.gradient_scale),
          .weight_decay = static_cast<float>(args.weight_decay),
          .rate = static_cast<float>(args.rate),
          .epsilon = static_cast<float>(epsilon_)};
}

void Adagrad::Step(const StepArgs& args) const {
  Loop(Rule(args), args.count, args.gradient, args.weights, args.slots[0]);
}

}  // namespace leeway
