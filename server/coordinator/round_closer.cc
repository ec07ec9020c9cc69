#include "server/coordinator/round_closer.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace leeway {

void RoundCloser::Report(std::uint32_t shard, const v1::ReportRoundRequest& report) {
  if (shard >= reports_.size() || report.round() != open_round_) return;
  for (const v1::RoundContribution& contribution : report.complete()) Note(shard, contribution);
}

void RoundCloser::Note(std::uint32_t shard, const v1::RoundContribution& contribution) {
  const bool known = !reports_[shard].insert_or_assign(contribution.rank(), contribution).second;
  if (!known && WholeEverywhere(contribution.rank())) ++whole_;
}

void RoundCloser::Leave(std::uint32_t rank, std::uint64_t pushed, Instant until) {
  if (pushed > open_round_) left_[rank] = {pushed, until};
}

std::set<std::uint32_t> RoundCloser::Owed(Instant now) const {
  std::set<std::uint32_t> owed;
  for (const auto& [rank, departure] : left_) {
    if (now < departure.until || WholeEverywhere(rank)) owed.insert(rank);
  }
  return owed;
}

bool RoundCloser::WholeEverywhere(std::uint32_t rank) const {
  return std::all_of(reports_.begin(), reports_.end(), [rank](const auto& shard) { return shard.count(rank) > 0; });
}

std::vector<std::uint32_t> RoundCloser::Missing(const std::set<std::uint32_t>& expected) const {
  std::vector<std::uint32_t> missing;
  for (std::uint32_t rank : expected) {
    if (!WholeEverywhere(rank)) missing.push_back(rank);
  }
  return missing;
}

std::optional<v1::RoundClose> RoundCloser::TryClose(const std::set<std::uint32_t>& expected) {
  if (expected.empty()) return std::nullopt;
  const std::size_t needed = quorum_ == 0 ? expected.size() : std::min<std::size_t>(quorum_, expected.size());
  // With many workers most reports change nothing: who is missing is looked at when it can matter.
  if (whole_ < needed || expected.size() - Missing(expected).size() < needed) return std::nullopt;
  return Abandon();
}

v1::RoundClose RoundCloser::Abandon() {
  v1::RoundClose close;
  close.set_round(open_round_);
  // Whoever's push is whole everywhere counts, also one who has left since.
  for (const auto& [rank, contribution] : reports_[0]) {
    if (!WholeEverywhere(rank)) continue;
    const bool usable = std::all_of(reports_.begin(), reports_.end(),
                                    [rank = rank](const auto& shard) { return shard.at(rank).usable(); });
    if (!usable || contribution.samples() == 0) continue;
    close.add_ranks(rank);
    close.set_samples(close.samples() + contribution.samples());
  }
  ++open_round_;
  for (auto& shard : reports_) shard.clear();
  whole_ = 0;
  for (auto it = left_.begin(); it != left_.end();) {
    it = it->second.pushed <= open_round_ ? left_.erase(it) : std::next(it);
  }
  return close;
}

void RoundCloser::Save(v1::RoundCloserState* state) const {
  state->set_open_round(open_round_);
  for (std::size_t shard = 0; shard < reports_.size(); ++shard) {
    if (reports_[shard].empty()) continue;
    v1::ReportRoundRequest& report = *state->add_reports();
    report.set_shard_index(static_cast<std::uint32_t>(shard));
    for (const auto& [rank, contribution] : reports_[shard]) *report.add_complete() = contribution;
  }
  for (const auto& [rank, departure] : left_) (*state->mutable_left())[rank] = departure.pushed;
}

absl::Status RoundCloser::Restore(const v1::RoundCloserState& state, Instant until) {
  open_round_ = state.open_round();
  for (const v1::ReportRoundRequest& report : state.reports()) {
    if (report.shard_index() >= reports_.size()) {
      return absl::DataLossError(
          absl::StrCat("rounds: a report of ps ", report.shard_index(), " of ", reports_.size()));
    }
    for (const v1::RoundContribution& contribution : report.complete()) Note(report.shard_index(), contribution);
  }
  for (const auto& [rank, pushed] : state.left()) Leave(rank, pushed, until);
  return absl::OkStatus();
}

}  // namespace leeway
