// RoundsPerEpoch: the rounds in which every rank gets through its records. A rank that has left before training began
// may come back: it is taken to have the smallest batch that another has.
//
// Thread safety: a pure function.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>

namespace leeway {

// Requires `batches`: of the ranks that are there when training begins.
inline std::uint64_t RoundsPerEpoch(std::uint64_t records, std::uint32_t workers,
                                    const std::map<std::uint32_t, std::uint32_t>& batches) {
  const auto less = [](const auto& one, const auto& other) { return one.second < other.second; };
  const auto smallest = std::min_element(batches.begin(), batches.end(), less);
  std::uint64_t rounds = 0;
  for (std::uint32_t rank = 0; rank < workers && rank < records; ++rank) {
    const auto own = batches.find(rank);
    const std::uint64_t batch = std::max(1u, (own == batches.end() ? smallest : own)->second);
    rounds = std::max(rounds, (records - rank - 1) / workers / batch + 1);
  }
  return rounds;
}

}  // namespace leeway
