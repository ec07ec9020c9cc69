#include "kernels/optimizers/sgd.h"

#include <cmath>
#include <vector>

#include "tests/catch.h"
#include "tests/kernels/optimizers/optimizer_testing.h"

namespace leeway::testing {
namespace {

const std::vector<SlotKind> kSlots = {};

TEST_CASE("SGD: agrees with the formula in double") {
  CheckAgainstReference(Sgd(), kSlots, [](double w, double gradient, std::vector<double>&, const StepArgs& args) {
    const double g = args.gradient_scale * gradient + args.weight_decay * w;
    return w - args.rate * g;
  });
}

TEST_CASE("SGD: PyTorch's numbers") {
  CheckGolden(Sgd(), kSlots, {0.491504252f, -1.24625182f, 2.02598691f, -0.0318122171f}, {});
}

TEST_CASE("SGD: the same bits for every cut, alignment, compiler and machine") {
  CheckPiecesAndAlignments(Sgd(), kSlots);
  CHECK(StepBits(Sgd(), kSlots) == 0xe93cd741u);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("SGD: the same bits on every instruction set") { CheckInstructionSets(Sgd(), kSlots, Sgd::Rule(TestArgs())); }
#endif

}  // namespace
}  // namespace leeway::testing
