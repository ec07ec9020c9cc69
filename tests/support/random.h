// Random: a small seeded generator whose numbers are the same on every machine and standard library.
//
// Thread safety: none; one per test.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/hash.h"

namespace leeway {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(Mix64(seed)) {}

  std::uint64_t Bits() { return state_ = Mix64(state_); }
  std::uint64_t Below(std::uint64_t end) { return Bits() % end; }  // [0, end)
  std::uint64_t Between(std::uint64_t first, std::uint64_t last) { return first + Below(last - first + 1); }
  double Unit() { return UnitUniform(Bits()); }
  bool Chance(double probability) { return Unit() < probability; }
  double Exponential(double mean) { return -mean * std::log(1.0 - Unit()); }

 private:
  std::uint64_t state_;
};

}  // namespace leeway
