// FTRL-Proximal (McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches", algorithm 1, per coordinate),
// for linear models with few weights that are not 0. PyTorch has none.
//   g = scale * gradient + weight_decay * w
//   n = n + g * g                              slot 1, initially 0
//   Q = (beta + sqrt(n)) / rate                the paper's alpha is the rate
//   z = z + g - (Q - Q before) * w             slot 0
//   w = 0 where |z| <= l1, else (sign(z) * l1 - z) / (Q + l2)
//
// A rate need not be what it was a step ago (schedules, samples, delays, groups), so "Q before" is not computed from n
// but from what it did to w: where w is not 0 it has solved z = sign(z) * l1 - (Q before + l2) * w. With this the rule
// reads
//   where w was not 0   w = w - g / (Q + l2) as long as that is on the same side of 0; z is what would give it
//   where it was 0      z = z + g
// and then, at 0 or across it, w from z as above. At one rate it is algorithm 1. At changing rates no weight moves
// because of the rate: only a gradient moves it, at its own rate. What is gathered while a weight is 0 counts in full
// at whatever rates it came; what leaves 0 leaves at the rate of its step. A step at rate 0 moves nothing.
//
// Initial weights: algorithm 1 begins at 0. Elsewhere the first step pulls towards the weight that it finds, as later
// ones do towards theirs: z = -Q * w before g is added. That takes l1 and l2 in full, once: without gradients a weight
// within l1 * rate / beta of 0 becomes 0 with its first step, one farther away comes nearer by about that (less at a
// lower rate, as in a warm-up), and then stays. z = 0 with w not 0 says that there was no step yet: no step leaves
// that.
//
// l1 and l2 are of the objective over all gradients summed up, not of each step; weight_decay is of each step.
//
// Thread safety and memory: kernels/optimizers/optimizer.h.
#pragma once

#include <cmath>

#include "kernels/host_device.h"
#include "kernels/optimizers/optimizer.h"

namespace leeway {

// The rule for one element: changes `z` and `n`, returns the new weight.
struct FtrlRule {
  float scale, weight_decay, rate;
  float base;  // beta + rate * l2
  float l1, l2;

  // Selections instead of branches, of values that may be wasted: so it is vectorized.
  LEEWAY_HOST_DEVICE float operator()(float weight, float gradient, float& z, float& n) const {
    const float g = scale * gradient + weight_decay * weight;
    n = n + g * g;
    const float step = rate / (std::sqrt(n) + base);  // 1 / (Q + l2); 0 at rate 0, and where n is infinite
    const float moved = weight - step * g;
    const bool initial = z == 0;
    const float penalty = weight > 0 ? l1 : -l1;
    const float from_weight = -(moved / step) - (initial ? -l2 * weight : penalty);
    const float sum = weight == 0 ? z + g : from_weight;
    const bool held = (sum <= l1) & (sum >= -l1);
    const float solved = held ? 0.0f : ((sum > 0 ? l1 : -l1) - sum) * step;
    const bool same_side = ((weight > 0) & (moved > 0)) | ((weight < 0) & (moved < 0));
    const float next = (same_side & !initial) ? moved : solved;
    z = step > 0 ? sum : z;
    return step > 0 ? next : weight;
  }
};

struct FtrlParameters {
  double l1, l2, beta;
};

class Ftrl final : public Optimizer {
 public:
  explicit Ftrl(const FtrlParameters& parameters) : parameters_(parameters) {}

  int slots() const override { return 2; }
  float slot_initial_value(int) const override { return 0; }
  void Step(const StepArgs& args) const override;

  FtrlRule Rule(const StepArgs& args) const;

 private:
  const FtrlParameters parameters_;
};

}  // namespace leeway
