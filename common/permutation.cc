#include "common/permutation.h"

#include <algorithm>
#include <bit>

#include "common/hash.h"

namespace leeway {
namespace {

// With 8, a chi-square test over a million epochs still sees that sizes below 16 are not quite uniform; with 12 it does
// not. A position costs some 40 ns.
constexpr int kRounds = 12;

}  // namespace

Permutation::Permutation(std::uint64_t size, std::uint64_t seed, std::uint64_t epoch)
    : size_(size),
      key_(HashCombine(HashCombine(0, seed), epoch)),
      half_bits_(std::max(1, (static_cast<int>(std::bit_width(size - 1)) + 1) / 2)) {}

std::uint64_t Permutation::At(std::uint64_t position) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t value = position;
  do {
    std::uint64_t left = value >> half_bits_;
    std::uint64_t right = value & mask;
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t mixed = HashCombine(key_ + static_cast<std::uint64_t>(round), right);
      const std::uint64_t next = left ^ (mixed & mask);
      left = right;
      right = next;
    }
    value = left << half_bits_ | right;
  } while (value >= size_);
  return value;
}

}  // namespace leeway
