// SimCluster's checkers of SimTrainers: what has become of their gradients, value by value.
#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/support/sim_cluster.h"

namespace leeway {
namespace {

// Sums of thousands of small whole numbers, and of INT8's rounded ones.
double Tolerance(double value) { return 0.02 + 1e-4 * std::abs(value); }

// Calls fn(element) with the process's own elements in the block.
template <typename Fn>
void ForEachOwn(const TrainerProcess& process, const Placement& placement, std::uint64_t block, Fn fn) {
  const std::uint64_t begin = placement.BlockBegin(block) + process.options().number * TrainerProcess::kOwn;
  for (std::uint64_t element = begin; element < begin + TrainerProcess::kOwn; ++element) fn(element);
}

}  // namespace

// A pull has all that was applied of the process's own first `own_clock` steps, and of its earlier incarnations.
void SimCluster::CheckRead(const TrainerProcess& process, std::uint64_t own_clock, const std::vector<float>& weights) {
  // Other encodings round; in rounds a step's share of its round is not known here.
  if (process.options().pull != v1::F32 || options_.policy.aggregation() == v1::ROUND) return;
  if (options_.elements > 100'000 || own_clock % 8 != 0) return;  // or it would take most of the time
  if (!OfThisEra(process.incarnations().back().first)) return;
  std::vector<double> applied(options_.elements);
  for (std::uint64_t element = 0; element < options_.elements; ++element) applied[element] = -Base(element);
  for (const auto& [incarnation, rank] : process.incarnations()) {
    if (!OfThisEra(incarnation)) continue;
    const bool now = incarnation == process.incarnations().back().first;
    for (auto it = pushes_.chunks().lower_bound({incarnation}); it != pushes_.chunks().end(); ++it) {
      if (it->first.incarnation != incarnation || (now && it->first.step >= own_clock)) break;
      if (it->second.told == v1::APPLIED) PushBook::Add(placement_, it->second, 1, &applied);
    }
  }
  for (std::uint64_t block = 0; block < placement_.num_blocks(); ++block) {
    ForEachOwn(process, placement_, block, [&](std::uint64_t element) {
      if (-weights[element] > applied[element] - Tolerance(applied[element])) return;
      Complain(absl::StrCat(process.options().name, " read ", -weights[element], " at element ", element, ", and ",
                            applied[element], " of its own was applied before step ", own_clock));
    });
  }
}

// The weights are the sum of what was applied: of what was told so, and of what nothing was told of yet; or of the
// rounds that are closed.
void SimCluster::CheckSums(std::uint32_t shard, const std::vector<std::vector<float>>& blocks) {
  const bool rounds = options_.policy.aggregation() == v1::ROUND;
  const std::uint64_t closed = ShardOf(shard).Describe().closed_round();
  std::map<std::uint64_t, std::uint32_t> ranks;
  for (const auto& process : processes_) ranks.insert(process->incarnations().begin(), process->incarnations().end());
  std::vector<double> least(options_.elements);
  for (std::uint64_t element = 0; element < options_.elements; ++element) least[element] = -Base(element);
  std::vector<double> in_doubt(options_.elements);
  for (const auto& [key, chunk] : pushes_.chunks()) {
    if (key.shard != shard || !OfThisEra(key.incarnation)) continue;
    if (!rounds) {
      if (chunk.told == v1::APPLIED) PushBook::Add(placement_, chunk, 1, &least);
      if (chunk.told == v1::VERDICT_NONE && !chunk.denied) PushBook::Add(placement_, chunk, 1, &in_doubt);
      continue;
    }
    const auto close = closes_.find(key.step);
    if (key.step >= closed || close == closes_.end()) continue;
    const auto& named = close->second.close.ranks();
    if (std::count(named.begin(), named.end(), ranks[key.incarnation]) == 0) continue;
    // Two incarnations may have had the rank one after the other: then one of them has been told that it is not in.
    const bool sure = chunk.told == v1::APPLIED || chunk.told == v1::HELD;
    if (chunk.told == v1::DROPPED || chunk.told == v1::REFUSED) continue;
    PushBook::Add(placement_, chunk, 1.0 / static_cast<double>(close->second.close.samples()),
                  sure ? &least : &in_doubt);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::uint64_t begin = placement_.BlockBegin(shard + i * options_.shards);
    for (std::size_t j = 0; j < blocks[i].size(); ++j) {
      const double sum = -static_cast<double>(blocks[i][j]);
      const double low = least[begin + j];
      const double high = low + in_doubt[begin + j];
      if (sum < low - Tolerance(low) || sum > high + Tolerance(high)) {
        return Complain(absl::StrCat("ps", shard, " has ", sum, " at element ", begin + j, " (process ",
                                     j / TrainerProcess::kOwn, "), not ", low, " to ", high));
      }
    }
  }
}

// Of a process that was not killed everything is somewhere: in the weights, or in the residual of its encoding. Where a
// message may be lost again and again, without a word or since a link is cut or a `ps` away, a worker whose lease has
// run out gives up asking what became of its last pushes: then something may be nowhere, but nothing is there twice.
void SimCluster::CheckResiduals() {
  const bool heard = options_.faults.loss == 0 && network_.longest_silence() < absl::Seconds(4.6);
  const bool rounds = options_.policy.aggregation() == v1::ROUND;
  for (const auto& process : processes_) {
    if (process->killed() || process->residual().empty()) continue;
    const auto& all = process->incarnations();
    if (!std::all_of(all.begin(), all.end(), [this](const auto& one) { return OfThisEra(one.first); })) continue;
    std::vector<double> sent(options_.elements);
    std::vector<double> in_doubt(options_.elements);
    for (const auto& [incarnation, rank] : process->incarnations()) {
      for (auto it = pushes_.chunks().lower_bound({incarnation}); it != pushes_.chunks().end(); ++it) {
        const auto& [key, chunk] = *it;
        if (key.incarnation != incarnation) break;
        const auto close = closes_.find(key.step);
        const bool named = close != closes_.end() &&
                           std::count(close->second.close.ranks().begin(), close->second.close.ranks().end(), rank) > 0;
        const bool applied =
            rounds ? named && chunk.told != v1::DROPPED && chunk.told != v1::REFUSED : chunk.told == v1::APPLIED;
        if (applied) PushBook::Add(placement_, chunk, 1, &sent);
        // What became of the push that was held for the last round nobody tells its worker.
        if (rounds && !named && chunk.told == v1::HELD) PushBook::Add(placement_, chunk, 1, &in_doubt);
      }
    }
    exact_ += heard ? 1 : 0;
    for (std::uint64_t block = 0; block < placement_.num_blocks(); ++block) {
      ForEachOwn(*process, placement_, block, [&](std::uint64_t element) {
        const double kept = static_cast<double>(process->residual()[element]);
        const double given = process->given()[element];
        const double lost = given - sent[element] - kept;
        const bool missing = heard && lost > in_doubt[element] + Tolerance(given);
        if (lost > -Tolerance(given) && !missing) return;
        Complain(absl::StrCat(process->options().name, " (process ", process->options().number, ") gave ", given,
                              " at element ", element, "; applied: ", sent[element], ", kept: ", kept));
      });
    }
  }
}

}  // namespace leeway
