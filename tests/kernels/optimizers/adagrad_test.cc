#include "kernels/optimizers/adagrad.h"

#include <cmath>
#include <vector>

#include "tests/catch.h"
#include "tests/kernels/optimizers/optimizer_testing.h"

namespace leeway::testing {
namespace {

const std::vector<SlotKind> kSlots = {SlotKind::kSquare};

TEST_CASE("Adagrad: agrees with the formula in double") {
  CheckAgainstReference(Adagrad(1e-10), kSlots,
                        [](double w, double gradient, std::vector<double>& slots, const StepArgs& args) {
                          const double g = args.gradient_scale * gradient + args.weight_decay * w;
                          slots[0] += g * g;
                          return w - args.rate * g / (std::sqrt(slots[0]) + 1e-10);
                        });
}

TEST_CASE("Adagrad: PyTorch's numbers") {
  CheckGolden(Adagrad(1e-10), kSlots, {0.490273327f, -1.23886716f, 2.01023364f, -0.0412786976f},
              {{0.860812426f, 0.132587865f, 7.37858343f, 0.00350524415f}});
}

TEST_CASE("Adagrad: the same bits for every cut, alignment, compiler and machine") {
  CheckPiecesAndAlignments(Adagrad(1e-10), kSlots);
  CHECK(StepBits(Adagrad(1e-10), kSlots) == 0x0147db9fu);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("Adagrad: the same bits on every instruction set") {
  CheckInstructionSets(Adagrad(1e-10), kSlots, Adagrad(1e-10).Rule(TestArgs()));
}
#endif

}  // namespace
}  // namespace leeway::testing
