// AdamW: torch.optim.AdamW (Loshchilov, Hutter 2019, algorithm 2, with PyTorch's rate * weight_decay): Adam whose
// weight decay goes past the moments.
//   w = w - rate * weight_decay * w
//   then as Adam with weight decay 0           slots 0 and 1 as Adam's
//
// Thread safety and memory: kernels/optimizers/optimizer.h.
#pragma once

#include "kernels/optimizers/adam.h"
#include "kernels/optimizers/optimizer.h"

namespace leeway {

class AdamW final : public Optimizer {
 public:
  explicit AdamW(const AdamParameters& parameters) : parameters_(parameters) {}

  int slots() const override { return 2; }
  float slot_initial_value(int) const override { return 0; }
  void Step(const StepArgs& args) const override { RunAdam(Rule(args), args); }

  AdamRule Rule(const StepArgs& args) const;

 private:
  const AdamParameters parameters_;
};

}  // namespace leeway
