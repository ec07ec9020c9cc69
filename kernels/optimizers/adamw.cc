#include "kernels/optimizers/adamw.h"

namespace leeway {

AdamRule AdamW::Rule(const StepArgs& args) const {
  AdamRule rule = UndecayedAdamRule(parameters_, args);
  rule.keep = static_cast<float>(1 - args.rate * args.weight_decay);
  return rule;
}

}  // namespace leeway
