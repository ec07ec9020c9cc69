#include "kernels/optimizers/adamw.h"

#include <cmath>
#include <vector>

#include "tests/catch.h"
#include "tests/kernels/optimizers/optimizer_testing.h"

namespace leeway::testing {
namespace {

const std::vector<SlotKind> kSlots = {SlotKind::kSigned, SlotKind::kSquare};

TEST_CASE("AdamW: agrees with the formula in double") {
  CheckAgainstReference(AdamW({0.9, 0.999, 1e-8}), kSlots,
                        [](double w, double gradient, std::vector<double>& slots, const StepArgs& args) {
                          const double g = args.gradient_scale * gradient;
                          slots[0] = 0.9 * slots[0] + 0.1 * g;
                          slots[1] = 0.999 * slots[1] + 0.001 * g * g;
                          const double m = slots[0] / (1 - std::pow(0.9, args.step));
                          const double v = slots[1] / (1 - std::pow(0.999, args.step));
                          return w - args.rate * args.weight_decay * w - args.rate * m / (std::sqrt(v) + 1e-8);
                        });
}

TEST_CASE("AdamW: PyTorch's numbers") {
  CheckGolden(AdamW({0.9, 0.999, 1e-8}), kSlots, {0.497799069f, -1.24196374f, 1.99431276f, -0.0276780706f},
              {{0.273749977f, -0.416874975f, 0.929999948f, -0.0446874946f},
               {0.499281645f, 0.0623828769f, 3.99650168f, 0.00195117295f}});
}

TEST_CASE("AdamW: the same bits for every cut, alignment, compiler and machine") {
  CheckPiecesAndAlignments(AdamW({0.9, 0.999, 1e-8}), kSlots);
  CHECK(StepBits(AdamW({0.9, 0.999, 1e-8}), kSlots) == 0x43faf5f4u);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("AdamW: the same bits on every instruction set") {
  CheckInstructionSets(AdamW({0.9, 0.999, 1e-8}), kSlots, AdamW({0.9, 0.999, 1e-8}).Rule(TestArgs()));
}
#endif

}  // namespace
}  // namespace leeway::testing
