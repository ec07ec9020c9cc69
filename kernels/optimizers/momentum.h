// Gradient descent with momentum: torch.optim.SGD with dampening 0 (Sutskever et al. 2013).
//   g = scale * gradient + weight_decay * w
//   b = momentum * b + g                       slot 0, initially 0
//   w = w - rate * (nesterov ? g + momentum * b : b)
//
// Thread safety and memory: kernels/optimizers/optimizer.h.
#pragma once

#include "kernels/host_device.h"
#include "kernels/optimizers/optimizer.h"

namespace leeway {

// The rule for one element: changes `buffer`, returns the new weight.
struct MomentumRule {
  float scale, weight_decay, rate, momentum;

  LEEWAY_HOST_DEVICE float Plain(float weight, float gradient, float& buffer) const {
    buffer = momentum * buffer + (scale * gradient + weight_decay * weight);
    return weight - rate * buffer;
  }

  LEEWAY_HOST_DEVICE float Nesterov(float weight, float gradient, float& buffer) const {
    const float g = scale * gradient + weight_decay * weight;
    buffer = momentum * buffer + g;
    return weight - rate * (g + momentum * buffer);
  }
};

class Momentum final : public Optimizer {
 public:
  Momentum(double momentum, bool nesterov) : momentum_(momentum), nesterov_(nesterov) {}

  int slots() const override { return 1; }
  float slot_initial_value(int) const override { return 0; }
  void Step(const StepArgs& args) const override;

  MomentumRule Rule(const StepArgs& args) const;

 private:
  const double momentum_;
  const bool nesterov_;
};

}  // namespace leeway
