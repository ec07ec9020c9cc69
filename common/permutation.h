// Permutation: the order in which an epoch visits its records, as a function: position -> record, without a
// table. Every process that knows (size, seed, epoch) computes the same order, on every machine and in every
// later version: data leases and restarts name positions.
//
// How: a Feistel network (twelve rounds of common/hash.h's Mix64) is a bijection of [0, 4^k) for the smallest 4^k >=
// size; a result outside [0, size) is fed back until it lies inside ("cycle walking": Black, Rogaway 2002), four times
// at most on average. Good shuffling, no cryptography.
//
// Thread safety: immutable after construction.
#pragma once

#include <cstdint>

namespace leeway {

class Permutation {
 public:
  Permutation(std::uint64_t size, std::uint64_t seed, std::uint64_t epoch);

  std::uint64_t size() const { return size_; }

  // A bijection of [0, size()). Requires position < size().
  std::uint64_t At(std::uint64_t position) const;

 private:
  const std::uint64_t size_;
  const std::uint64_t key_;
  const int half_bits_;  // the network permutes [0, 2^(2 * half_bits_))
};

}  // namespace leeway
