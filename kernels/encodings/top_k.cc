#include "kernels/encodings/top_k.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "kernels/target_clones.h"

namespace leeway {
namespace {

// Magnitudes of floats are ordered as their 31 lower bits are. A bin is the exponent and the first three bits of the
// mantissa: few enough bins to count in, and so fine that the one which holds the threshold holds few values.
constexpr int kShift = 20;
constexpr std::size_t kBins = std::size_t{1} << (31 - kShift);

inline std::uint32_t Magnitude(float value) { return std::bit_cast<std::uint32_t>(value) & 0x7fffffffu; }

using Counts = std::array<std::uint32_t, kBins>;

// Neighbours are often in the same bin, and adding to one counter twice in a row waits for memory: four sets of
// counters, taken in turn.
Counts CountPerBin(const float* values, std::size_t count) {
  constexpr std::size_t kWays = 4;
  std::array<Counts, kWays> ways = {};
  for (std::size_t i = 0; i < count; ++i) ++ways[i % kWays][Magnitude(values[i]) >> kShift];
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    for (std::size_t way = 1; way < kWays; ++way) ways[0][bin] += ways[way][bin];
  }
  return ways[0];
}

// Writes the indices of magnitudes of at least `least` to `indices`, which has room for one more than there are.
// Without a branch, which would often be mispredicted.
LEEWAY_TARGET_CLONES
void Gather(const float* values, std::size_t count, std::uint32_t least, std::size_t found, std::uint32_t* indices) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < count && at < found; ++i) {
    indices[at] = static_cast<std::uint32_t>(i);
    at += Magnitude(values[i]) >= least;
  }
}

}  // namespace

void SelectTopK(const float* values, std::size_t count, std::size_t kept, char* indices, char* out_values) {
  if (kept == 0) return;
  const Counts counts = CountPerBin(values, count);
  std::size_t bin = kBins - 1, above = 0;  // above: how many values are in greater bins
  while (above + counts[bin] < kept) above += counts[bin--];

  const auto least = static_cast<std::uint32_t>(bin << kShift);
  std::vector<std::uint32_t> candidates(above + counts[bin] + 1);
  Gather(values, count, least, candidates.size() - 1, candidates.data());
  candidates.pop_back();

  // The threshold is the least magnitude that is kept; of those equal to it, the first `ties`.
  std::vector<std::uint32_t> in_bin;
  in_bin.reserve(counts[bin]);
  for (std::uint32_t index : candidates) {
    if (Magnitude(values[index]) >> kShift == bin) in_bin.push_back(Magnitude(values[index]));
  }
  const auto last_kept = in_bin.begin() + static_cast<std::ptrdiff_t>(kept - above - 1);
  std::nth_element(in_bin.begin(), last_kept, in_bin.end(), std::greater<>());
  const std::uint32_t threshold = *last_kept;
  std::ptrdiff_t ties = 1 + std::count(in_bin.begin(), last_kept, threshold);

  for (std::uint32_t index : candidates) {
    const std::uint32_t magnitude = Magnitude(values[index]);
    if (magnitude < threshold || (magnitude == threshold && ties-- <= 0)) continue;
    std::memcpy(indices, &index, sizeof index);
    std::memcpy(out_values, &values[index], sizeof(float));
    indices += sizeof index;
    out_values += sizeof(float);
  }
}

}  // namespace leeway
