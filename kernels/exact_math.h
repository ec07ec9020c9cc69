// Functions with the same bits on every machine. libm's pow and cos choose their code by the CPU (with or
// without fused multiply-add) and may differ in the last bit; `round` promises bit-identical weights whatever
// the shards run on. These use + - * / alone.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

namespace leeway {

// base ^ exponent by repeated squaring. Relative error about exponent * 2^-53.
constexpr double IntegerPower(double base, std::uint64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1) result *= base;
    base *= base;
  }
  return result;
}

// cos(pi * x) for x in [0, 1], to about 1e-15, by its Taylor series on [0, pi / 2].
constexpr double CosPi(double x) {
  if (x > 0.5) return -CosPi(1.0 - x);
  const double angle = 3.141592653589793 * x;
  double term = 1.0, sum = 1.0;
  for (int k = 1; k <= 12; ++k) {
    term *= -(angle * angle) / ((2 * k - 1) * (2 * k));
    sum += term;
  }
  return sum;
}

}  // namespace leeway
