// Adagrad: torch.optim.Adagrad with lr_decay 0 (Duchi, Hazan, Singer 2011).
//   g = scale * gradient + weight_decay * w
//   a = a + g * g                              slot 0, initially 0
//   w = w - rate * g / (sqrt(a) + epsilon)
//
// Thread safety and memory: kernels/optimizers/optimizer.h.
#pragma once

#include <cmath>

#include "kernels/host_device.h"
#include "kernels/optimizers/optimizer.h"

namespace leeway {

// The rule for one element: changes `sum`, returns the new weight.
struct AdagradRule {
  float scale, weight_decay, rate, epsilon;

  LEEWAY_HOST_DEVICE float operator()(float weight, float gradient, float& sum) const {
    const float g = scale * gradient + weight_decay * weight;
    sum = sum + g * g;
    return weight - rate * (g / (std::sqrt(sum) + epsilon));
  }
};

class Adagrad final : public Optimizer {
 public:
  explicit Adagrad(double epsilon) : epsilon_(epsilon) {}

  int slots() const override { return 1; }
  float slot_initial_value(int) const override { return 0; }
  void Step(const StepArgs& args) const override;

  AdagradRule Rule(const StepArgs& args) const;

 private:
  const double epsilon_;
};

}  // namespace leeway
