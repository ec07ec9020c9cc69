// Optimizer: how a gradient changes weights. One file per rule; the formulas and their names are PyTorch's.
//
// Optimizers hold hyper-parameters only. Weights and slots (an optimizer's per-weight state: momentum, second
// moments) belong to the caller, who allocates slots() arrays as long as the weights, filled with
// slot_initial_value(i), and who locks: Step may run at the same time on different memory.
//
// Invariant, on which replay, `round` and restarts rest: a Step gives each element the same bits on every
// instruction set, at every alignment, and however an array is cut into pieces. All arithmetic on elements is
// float32, one element at a time; what depends on the step alone is computed once, in double.
//
// Thread safety: every method is const and may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leeway {

struct StepArgs {
  float* weights = nullptr;         // [count]
  const float* gradient = nullptr;  // [count]; overlaps no other array
  float* const* slots = nullptr;    // [slots()], each [count]
  std::size_t count = 0;
  double rate = 0;
  double weight_decay = 0;    // already multiplied by the parameter group's factor
  std::uint64_t step = 1;     // how many steps this block has made, this one included: 1, 2, ...
  double gradient_scale = 1;  // multiplies the gradient before anything else
  double penalty_factor = 1;  // the parameter group's factor of weight decay, for penalties of the rule's own (ftrl)
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  virtual int slots() const = 0;
  virtual float slot_initial_value(int slot) const = 0;  // 0 <= slot < slots()
  virtual void Step(const StepArgs& args) const = 0;
};

}  // namespace leeway
