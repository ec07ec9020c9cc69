// RMSProp: torch.optim.RMSprop, not centered, without momentum (Hinton 2012, lecture 6e).
//   g = scale * gradient + weight_decay * w
//   v = rho * v + (1 - rho) * g * g            slot 0, initially 0
//   w = w - rate * g / (sqrt(v) + epsilon)
//
// Thread safety and memory: kernels/optimizers/optimizer.h.
#pragma once

#include <cmath>

#include "kernels/host_device.h"
#include "kernels/optimizers/optimizer.h"

namespace leeway {

// The rule for one element: changes `square`, returns the new weight.
struct RmspropRule {
  float scale, weight_decay, rate, rho, one_minus_rho, epsilon;

  LEEWAY_HOST_DEVICE float operator()(float weight, float gradient, float& square) const {
    const float g = scale * gradient + weight_decay * weight;
    square = rho * square + one_minus_rho * g * g;
    return weight - rate * (g / (std::sqrt(square) + epsilon));
  }
};

class Rmsprop final : public Optimizer {
 public:
  Rmsprop(double rho, double epsilon) : rho_(rho), epsilon_(epsilon) {}

  int slots() const override { return 1; }
  float slot_initial_value(int) const override { return 0; }
  void Step(const StepArgs& args) const override;

  RmspropRule Rule(const StepArgs& args) const;

 private:
  const double rho_;
  const double epsilon_;
};

}  // namespace leeway
