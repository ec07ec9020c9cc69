#include "kernels/optimizers/sgd.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(SgdRule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights) {
  for (std::size_t i = 0; i < count; ++i) weights[i] = rule(weights[i], gradient[i]);
}

}  // namespace

SgdRule Sgd::Rule(const StepArgs& args) {
  return {.scale = static_cast<float>(args.gradient_scale),
          .weight_decay = static_cast<float>(args.weight_decay),
          .rate = static_cast<float>(args.rate)};
}

void Sgd::Step(const StepArgs& args) const { Loop(Rule(args), args.count, args.gradient, args.weights); }

}  // namespace leeway
