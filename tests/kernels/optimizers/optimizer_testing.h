// What every optimizer's test asks: agreement with a double-precision reference, with PyTorch's numbers, and the same
// bits for every cut, alignment and instruction set.
//
// Thread safety: none; the checks use Catch2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/optimizers/optimizer.h"

namespace leeway::testing {

// What a slot may hold: momenta have both signs, sums of squares have not. kGathered has both signs, and matters most
// where the weight is 0, or it is: with such a slot every third weight is 0, and every third element of the slot.
enum class SlotKind { kSigned, kSquare, kGathered };

// The arrays of one step. Never zero but for kGathered: with zero weights nobody sees a forgotten weight decay.
struct Problem {
  std::vector<float> weights, gradient;
  std::vector<std::vector<float>> slots;
};

Problem MakeProblem(const std::vector<SlotKind>& kinds, std::size_t count);

// Rate 0.5, weight decay 0.1, step 7, gradient scale 0.25: each large enough to be missed when it is forgotten.
StepArgs TestArgs();

// Steps the elements [begin, begin + count) of `problem`.
void RunStep(const Optimizer& optimizer, Problem& problem, std::size_t begin, std::size_t count);

// One element in double: changes the slots, returns the new weight.
using Reference = std::function<double(double weight, double gradient, std::vector<double>& slots, const StepArgs&)>;

void CheckAgainstReference(const Optimizer& optimizer, const std::vector<SlotKind>& kinds, const Reference& reference);

// Pieces of any size and arrays at any alignment give the bits of one whole Step.
void CheckPiecesAndAlignments(const Optimizer& optimizer, const std::vector<SlotKind>& kinds);

// The CRC32C of every bit that a Step on 4,099 elements leaves. A constant in each test: the same for every compiler,
// sanitizer and machine, or replay and `round` are not what they promise. NumPy's float32 gives these constants too.
std::uint32_t StepBits(const Optimizer& optimizer, const std::vector<SlotKind>& kinds);

// Steps 7 and 8 on four elements with fixed weights, gradient and slots against PyTorch 1.13.1's results (float32, CPU;
// gradient halved by hand, state set before the step, rate 0.01, weight decay 0.1). One vector per slot.
void CheckGolden(const Optimizer& optimizer, const std::vector<SlotKind>& kinds, const std::vector<float>& weights,
                 const std::vector<std::vector<float>>& slots);

void CheckSameBits(const Problem& got, const Problem& want, const std::string& what);

// ---- The rule of one element, compiled for several instruction sets in the test itself.

#if defined(__x86_64__) && !defined(__clang__)
#define LEEWAY_TEST_TARGETS 1
#define LEEWAY_DEFINE_RUN(name, attribute)                                                                       \
  template <typename Rule, typename... Slot>                                                                     \
  attribute void name(Rule rule, std::size_t count, const float* __restrict gradient, float* __restrict weights, \
                      Slot* __restrict... slots) {                                                               \
    for (std::size_t i = 0; i < count; ++i) weights[i] = rule(weights[i], gradient[i], slots[i]...);             \
  }
LEEWAY_DEFINE_RUN(RunScalar, __attribute__((optimize("no-tree-vectorize"))))
LEEWAY_DEFINE_RUN(RunV3, __attribute__((target("arch=x86-64-v3"))))
LEEWAY_DEFINE_RUN(RunV4, __attribute__((target("arch=x86-64-v4"))))
#undef LEEWAY_DEFINE_RUN

// `rule` is called as rule(weight, gradient, slot&...).
template <typename Rule>
void CheckInstructionSets(const Optimizer& optimizer, const std::vector<SlotKind>& kinds, Rule rule) {
  constexpr std::size_t kCount = 4099;
  Problem want = MakeProblem(kinds, kCount);
  RunStep(optimizer, want, 0, kCount);
  const auto check = [&](const char* what, auto run) {
    Problem got = MakeProblem(kinds, kCount);
    run(got);
    CheckSameBits(got, want, what);
  };
#define LEEWAY_CHECK_RUN(name)                                              \
  check(#name, [&](Problem& p) {                                            \
    const float* g = p.gradient.data();                                     \
    float* w = p.weights.data();                                            \
    if constexpr (std::is_invocable_v<Rule, float, float>) {                \
      name(rule, kCount, g, w);                                             \
    } else if constexpr (std::is_invocable_v<Rule, float, float, float&>) { \
      name(rule, kCount, g, w, p.slots[0].data());                          \
    } else {                                                                \
      name(rule, kCount, g, w, p.slots[0].data(), p.slots[1].data());       \
    }                                                                       \
  })
  LEEWAY_CHECK_RUN(RunScalar);
  if (__builtin_cpu_supports("x86-64-v3")) LEEWAY_CHECK_RUN(RunV3);
  if (__builtin_cpu_supports("x86-64-v4")) LEEWAY_CHECK_RUN(RunV4);
#undef LEEWAY_CHECK_RUN
}
#endif

}  // namespace leeway::testing
