#include "server/round_book.h"

#include <utility>

namespace leeway {

RoundBook::Contribution& RoundBook::At(std::uint64_t round, std::uint32_t rank, std::uint32_t chunk_count) {
  Contribution& contribution = rounds_[round][rank];
  if (contribution.chunks.empty()) contribution.chunks.resize(chunk_count);
  return contribution;
}

bool RoundBook::Add(std::uint64_t round, std::uint32_t rank, std::uint64_t samples, std::uint32_t chunk,
                    std::uint32_t chunk_count, Chunk values) {
  Contribution& contribution = At(round, rank, chunk_count);
  contribution.samples = samples;
  held_bytes_ += values.payload.size();
  contribution.chunks[chunk] = std::move(values);
  ++contribution.have;
  return contribution.whole();
}

bool RoundBook::AddEmpty(std::uint64_t round, std::uint32_t rank, std::uint64_t samples) {
  if (IsWhole(round, rank)) return false;
  return Add(round, rank, samples, 0, 1, {});
}

bool RoundBook::AddRefused(std::uint64_t round, std::uint32_t rank, std::uint32_t chunk, std::uint32_t chunk_count) {
  Contribution& contribution = At(round, rank, chunk_count);
  contribution.refused = true;
  contribution.chunks[chunk] = {};
  ++contribution.have;
  return contribution.whole();
}

bool RoundBook::Settle(std::uint64_t round, std::uint32_t rank, bool refused) {
  Contribution& contribution = rounds_[round][rank];
  if (contribution.whole()) return false;
  contribution.refused = contribution.refused || refused;
  contribution.null = true;
  return true;
}

std::vector<v1::RoundContribution> RoundBook::Whole(std::uint64_t round) const {
  std::vector<v1::RoundContribution> whole;
  const auto it = rounds_.find(round);
  if (it == rounds_.end()) return whole;
  for (const auto& [rank, contribution] : it->second) {
    if (!contribution.whole()) continue;
    v1::RoundContribution& entry = whole.emplace_back();
    entry.set_rank(rank);
    entry.set_samples(contribution.samples);
    entry.set_usable(contribution.usable());
  }
  return whole;
}

bool RoundBook::IsWhole(std::uint64_t round, std::uint32_t rank) const {
  const auto it = rounds_.find(round);
  if (it == rounds_.end()) return false;
  const auto contribution = it->second.find(rank);
  return contribution != it->second.end() && contribution->second.whole();
}

RoundBook::Contributions RoundBook::Take(std::uint64_t round) {
  Contributions taken;
  while (!rounds_.empty() && rounds_.begin()->first <= round) {
    for (const auto& [rank, contribution] : rounds_.begin()->second) {
      for (const Chunk& chunk : contribution.chunks) held_bytes_ -= chunk.payload.size();
    }
    if (rounds_.begin()->first == round) taken = std::move(rounds_.begin()->second);
    rounds_.erase(rounds_.begin());
  }
  return taken;
}

}  // namespace leeway
