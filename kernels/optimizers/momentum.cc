#include "kernels/optimizers/momentum.h"

#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void PlainLoop(MomentumRule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights,
               float* __restrict buffer) {
  for (std::size_t i = 0; i < count; ++i) weights[i] = rule.Plain(weights[i], gradient[i], buffer[i]);
}

LEEWAY_TARGET_CLONES
void NesterovLoop(MomentumRule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights,
                  float* __restrict buffer) {
  for (std::size_t i = 0; i < count; ++i) weights[i] = rule.Nesterov(weights[i], gradient[i], buffer[i]);
}

}  // namespace

MomentumRule Momentum::Rule(const StepArgs& args) const {
  return {.scale = static_cast<float>(args.gradient_scale),
          .weight_decay = static_cast<float>(args.weight_decay),
          .rate = static_cast<float>(args.rate),
          .momentum = static_cast<float>(momentum_)};
}

void Momentum::Step(const StepArgs& args) const {
  (nesterov_ ? NesterovLoop : PlainLoop)(Rule(args), args.count, args.gradient, args.weights, args.slots[0]);
}

}  // namespace leeway
