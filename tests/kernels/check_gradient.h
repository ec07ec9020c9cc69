// CheckGradient: a gradient against central differences, in double.
//
// Thread safety: none.
#pragma once

#include <functional>

#include "tests/kernels/device_fixture.h"

namespace leeway {

// Requires that d(sum of seed * f(x)) / dx == gradient, for each element of x.
inline void CheckGradient(const std::function<Doubles(const Doubles&)>& f, const Doubles& seed, Doubles x,
                          const Doubles& gradient) {
  constexpr double kStep = 1e-5;
  REQUIRE(gradient.size() == x.size());
  const auto value = [&] {
    const Doubles y = f(x);
    REQUIRE(y.size() == seed.size());
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += seed[i] * y[i];
    return sum;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double center = x[i];
    x[i] = center + kStep;
    const double above = value();
    x[i] = center - kStep;
    const double below = value();
    x[i] = center;
    INFO("element " << i);
    REQUIRE(gradient[i] == Approx((above - below) / (2 * kStep)).epsilon(1e-6).margin(1e-8));
  }
}

}  // namespace leeway
