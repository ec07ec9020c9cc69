#include "kernels/exact_math.h"

#include <cmath>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("IntegerPower: agrees with pow") {
  for (const double base : {0.0, 0.1, 0.5, 0.9, 0.999, 1.0, 1.5}) {
    for (const std::uint64_t exponent : {0, 1, 2, 3, 7, 8, 100, 1000}) {
      CAPTURE(base, exponent);
      CHECK(IntegerPower(base, exponent) == Approx(std::pow(base, exponent)).epsilon(1e-12));
    }
  }
  CHECK(IntegerPower(0.5, 10) == 0x1p-10);
  CHECK(IntegerPower(0.999, ~std::uint64_t{0}) == 0.0);
}

TEST_CASE("CosPi: agrees with cos, exact at the ends and symmetric") {
  CHECK(CosPi(0) == 1.0);
  CHECK(CosPi(1) == -1.0);
  for (int i = 0; i <= 1000; ++i) {
    const double x = i / 1000.0;
    CAPTURE(x);
    CHECK(std::abs(CosPi(x) - std::cos(M_PI * x)) <= 1e-15);
  }
}

}  // namespace
}  // namespace leeway
