// Adam: torch.optim.Adam (Kingma, Ba 2015, algorithm 1), t being the block's own step.
//   g = scale * gradient + weight_decay * w
//   m = m + (1 - beta1) * (g - m)              slot 0, initially 0
//   v = beta2 * v + (1 - beta2) * g * g        slot 1, initially 0
//   w = w - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
//
// Thread safety and memory: kernels/optimizers/optimizer.h.
#pragma once

#include <cmath>

#include "kernels/host_device.h"
#include "kernels/optimizers/optimizer.h"

namespace leeway {

// The rule for one element, which AdamW shares: changes the moments, returns the new weight.
struct AdamRule {
  float scale;
  float weight_decay;  // Adam's, which the moments see; 0 for AdamW
  float keep;          // AdamW's 1 - rate * weight_decay; 1 for Adam
  float one_minus_beta1, beta2, one_minus_beta2;
  float rate;         // divided by 1 - beta1^t
  float root_factor;  // 1 / sqrt(1 - beta2^t)
  float epsilon;

  LEEWAY_HOST_DEVICE float operator()(float weight, float gradient, float& first, float& second) const {
    const float g = scale * gradient + weight_decay * weight;
    first = first + one_minus_beta1 * (g - first);
    second = beta2 * second + one_minus_beta2 * g * g;
    return keep * weight - rate * (first / (std::sqrt(second) * root_factor + epsilon));
  }
};

struct AdamParameters {
  double beta1, beta2, epsilon;
};

// The rule of one step without any weight decay. Requires args.step >= 1.
AdamRule UndecayedAdamRule(const AdamParameters& parameters, const StepArgs& args);

// Runs `rule` over the arrays of `args`.
void RunAdam(const AdamRule& rule, const StepArgs& args);

class Adam final : public Optimizer {
 public:
  explicit Adam(const AdamParameters& parameters) : parameters_(parameters) {}

  int slots() const override { return 2; }
  float slot_initial_value(int) const override { return 0; }
  void Step(const StepArgs& args) const override { RunAdam(Rule(args), args); }

  AdamRule Rule(const StepArgs& args) const;

 private:
  const AdamParameters parameters_;
};

}  // namespace leeway
