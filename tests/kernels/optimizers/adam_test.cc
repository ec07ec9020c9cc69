#include "kernels/optimizers/adam.h"

#include <cmath>
#include <vector>

#include "tests/catch.h"
#include "tests/kernels/optimizers/optimizer_testing.h"

namespace leeway::testing {
namespace {

const std::vector<SlotKind> kSlots = {SlotKind::kSigned, SlotKind::kSquare};

TEST_CASE("Adam: agrees with the formula in double") {
  CheckAgainstReference(Adam({0.9, 0.999, 1e-8}), kSlots,
                        [](double w, double gradient, std::vector<double>& slots, const StepArgs& args) {
                          const double g = args.gradient_scale * gradient + args.weight_decay * w;
                          slots[0] = 0.9 * slots[0] + 0.1 * g;
                          slots[1] = 0.999 * slots[1] + 0.001 * g * g;
                          const double m = slots[0] / (1 - std::pow(0.9, args.step));
                          const double v = slots[1] / (1 - std::pow(0.999, args.step));
                          return w - args.rate * m / (std::sqrt(v) + 1e-8);
                        });
}

TEST_CASE("Adam: PyTorch's numbers") {
  CheckGolden(Adam({0.9, 0.999, 1e-8}), kSlots, {0.498765647f, -1.24423277f, 1.99826372f, -0.0277066622f},
              {{0.283243924f, -0.440594971f, 0.96799016f, -0.0452618785f},
               {0.499361545f, 0.0624452271f, 3.99538255f, 0.00195081299f}});
}

TEST_CASE("Adam: the same bits for every cut, alignment, compiler and machine") {
  CheckPiecesAndAlignments(Adam({0.9, 0.999, 1e-8}), kSlots);
  CHECK(StepBits(Adam({0.9, 0.999, 1e-8}), kSlots) == 0xae477ac1u);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("Adam: the same bits on every instruction set") {
  CheckInstructionSets(Adam({0.9, 0.999, 1e-8}), kSlots, Adam({0.9, 0.999, 1e-8}).Rule(TestArgs()));
}
#endif

// 1 - beta^t is far from 1 at the first step and 1 in the end: a first step moves by the rate, whatever the gradient.
TEST_CASE("Adam: bias correction from the first step to the last") {
  for (const std::uint64_t step : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1000}, ~std::uint64_t{0}}) {
    float weight = 1, gradient = 1e-3f, first = 0, second = 0;
    float* const slots[] = {&first, &second};
    Adam({0.9, 0.999, 1e-30}).Step({&weight, &gradient, slots, 1, 0.125, 0, step, 1});
    const double m = 1e-4 / (1 - std::pow(0.9, step)), v = 1e-9 / (1 - std::pow(0.999, step));
    CAPTURE(step);
    CHECK(weight == Approx(1 - 0.125 * m / std::sqrt(v)).epsilon(1e-5));
    if (step == 1) CHECK(weight == Approx(0.875).epsilon(1e-6));
  }
}

TEST_CASE("Adam: a gradient of zeros leaves weights at rest, without NaN") {
  float weight = 0.5f, gradient = 0, first = 0, second = 0;
  float* const slots[] = {&first, &second};
  Adam({0.9, 0.999, 1e-8}).Step({&weight, &gradient, slots, 1, 0.1, 0, 1, 1});
  CHECK(weight == 0.5f);
}

}  // namespace
}  // namespace leeway::testing
