#include "kernels/optimizers/momentum.h"

#include <cmath>
#include <vector>

#include "tests/catch.h"
#include "tests/kernels/optimizers/optimizer_testing.h"

namespace leeway::testing {
namespace {

const std::vector<SlotKind> kSlots = {SlotKind::kSigned};

TEST_CASE("momentum: agrees with the formula in double") {
  CheckAgainstReference(Momentum(0.9, false), kSlots,
                        [](double w, double gradient, std::vector<double>& slots, const StepArgs& args) {
                          const double g = args.gradient_scale * gradient + args.weight_decay * w;
                          slots[0] = 0.9 * slots[0] + g;
                          return w - args.rate * slots[0];
                        });
}

TEST_CASE("momentum: PyTorch's numbers") {
  CheckGolden(Momentum(0.9, false), kSlots, {0.483406484f, -1.2360189f, 2.01205063f, -0.0309971552f},
              {{1.00934994f, -0.760612488f, -1.25505006f, 0.00284062698f}});
}

TEST_CASE("momentum: the same bits for every cut, alignment, compiler and machine") {
  CheckPiecesAndAlignments(Momentum(0.9, false), kSlots);
  CHECK(StepBits(Momentum(0.9, false), kSlots) == 0x72c00eacu);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("momentum: the same bits on every instruction set") {
  CheckInstructionSets(
      Momentum(0.9, false), kSlots,
      [rule = Momentum(0.9, false).Rule(TestArgs())](float w, float g, float& b) { return rule.Plain(w, g, b); });
}
#endif

TEST_CASE("momentum with Nesterov: agrees with the formula in double") {
  CheckAgainstReference(Momentum(0.9, true), kSlots,
                        [](double w, double gradient, std::vector<double>& slots, const StepArgs& args) {
                          const double g = args.gradient_scale * gradient + args.weight_decay * w;
                          slots[0] = 0.9 * slots[0] + g;
                          return w - args.rate * (g + 0.9 * slots[0]);
                        });
}

TEST_CASE("momentum with Nesterov: PyTorch's numbers") {
  CheckGolden(Momentum(0.9, true), kSlots, {0.476579189f, -1.23367572f, 2.03682137f, -0.0315846354f},
              {{1.00899005f, -0.760488749f, -1.25374508f, 0.00280968845f}});
}

TEST_CASE("momentum with Nesterov: the same bits for every cut, alignment, compiler and machine") {
  CheckPiecesAndAlignments(Momentum(0.9, true), kSlots);
  CHECK(StepBits(Momentum(0.9, true), kSlots) == 0x4143f49bu);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("momentum with Nesterov: the same bits on every instruction set") {
  CheckInstructionSets(
      Momentum(0.9, true), kSlots,
      [rule = Momentum(0.9, true).Rule(TestArgs())](float w, float g, float& b) { return rule.Nesterov(w, g, b); });
}
#endif

}  // namespace
}  // namespace leeway::testing
