#include "kernels/optimizers/rmsprop.h"

#include <cmath>
#include <vector>

#include "tests/catch.h"
#include "tests/kernels/optimizers/optimizer_testing.h"

namespace leeway::testing {
namespace {

const std::vector<SlotKind> kSlots = {SlotKind::kSquare};

TEST_CASE("RMSProp: agrees with the formula in double") {
  CheckAgainstReference(Rmsprop(0.99, 1e-8), kSlots,
                        [](double w, double gradient, std::vector<double>& slots, const StepArgs& args) {
                          const double g = args.gradient_scale * gradient + args.weight_decay * w;
                          slots[0] = 0.99 * slots[0] + 0.01 * g * g;
                          return w - args.rate * g / (std::sqrt(slots[0]) + 1e-8);
                        });
}

TEST_CASE("RMSProp: PyTorch's numbers") {
  CheckGolden(Rmsprop(0.99, 1e-8), kSlots, {0.487929881f, -1.2349807f, 2.01305318f, -0.0438902304f},
              {{0.49363935f, 0.0619530492f, 3.9540143f, 0.00192964415f}});
}

TEST_CASE("RMSProp: the same bits for every cut, alignment, compiler and machine") {
  CheckPiecesAndAlignments(Rmsprop(0.99, 1e-8), kSlots);
  CHECK(StepBits(Rmsprop(0.99, 1e-8), kSlots) == 0x95fa9bf3u);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("RMSProp: the same bits on every instruction set") {
  CheckInstructionSets(Rmsprop(0.99, 1e-8), kSlots, Rmsprop(0.99, 1e-8).Rule(TestArgs()));
}
#endif

}  // namespace
}  // namespace leeway::testing
