#include "kernels/optimizers/adam.h"

#include "kernels/exact_math.h"
#include "kernels/target_clones.h"

namespace leeway {
namespace {

LEEWAY_TARGET_CLONES
void Loop(AdamRule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights,
          float* __restrict first, float* __restrict second) {
  for (std::size_t i = 0; i < count; ++i) weights[i] = rule(weights[i], gradient[i], first[i], second[i]);
}

}  // namespace

AdamRule UndecayedAdamRule(const AdamParameters& parameters, const StepArgs& args) {
  const double correction1 = 1 - IntegerPower(parameters.beta1, args.step);
  const double correction2 = 1 - IntegerPower(parameters.beta2, args.step);
  return {.scale = static_cast<float>(args.gradient_scale),
          .weight_decay = 0,
          .keep = 1,
          .one_minus_beta1 = static_cast<float>(1 - parameters.beta1),
          .beta2 = static_cast<float>(parameters.beta2),
          .one_minus_beta2 = static_cast<float>(1 - parameters.beta2),
          .rate = static_cast<float>(args.rate / correction1),
          .root_factor = static_cast<float>(1 / std::sqrt(correction2)),
          .epsilon = static_cast<float>(parameters.epsilon)};
}

void RunAdam(const AdamRule& rule, const StepArgs& args) {
  Loop(rule, args.count, args.gradient, args.weights, args.slots[0], args.slots[1]);
}

AdamRule Adam::Rule(const StepArgs& args) const {
  AdamRule rule = UndecayedAdamRule(parameters_, args);
  rule.weight_decay = static_cast<float>(args.weight_decay);
  return rule;
}

}  // namespace leeway
