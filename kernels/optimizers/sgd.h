// Plain stochastic gradient descent: torch.optim.SGD with momentum 0.
//   g = scale * gradient + weight_decay * w
//   w = w - rate * g
//
// Thread safety and memory: kernels/optimizers/optimizer.h.
#pragma once

#include "kernels/host_device.h"
#include "kernels/optimizers/optimizer.h"

namespace leeway {

// The rule for one element.
struct SgdRule {
  float scale, weight_decay, rate;

  LEEWAY_HOST_DEVICE float operator()(float weight, float gradient) const {
    return weight - rate * (scale * gradient + weight_decay * weight);
  }
};

class Sgd final : public Optimizer {
 public:
  int slots() const override { return 0; }
  float slot_initial_value(int) const override { return 0; }
  void Step(const StepArgs& args) const override;

  static SgdRule Rule(const StepArgs& args);
};

}  // namespace leeway
