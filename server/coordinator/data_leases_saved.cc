// DataLeases: saved and restored.
#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/coordinator/data_leases.h"

namespace leeway {

void DataLeases::Save(v1::DataLeasesState* state) const {
  const auto save = [](const Piece& piece, v1::LeasedPiece* saved) {
    saved->set_epoch(piece.epoch);
    saved->set_begin(piece.begin);
    saved->set_end(piece.end);
    saved->set_retries(piece.retries);
  };
  state->set_next_epoch(next_epoch_);
  state->set_next_position(next_position_);
  state->set_next_lease(next_lease_);
  for (const Piece& piece : returned_) save(piece, state->add_returned());
  for (const auto& [id, lease] : leases_) {
    v1::DataLease& saved = *state->add_leases();
    saved.set_lease(id);
    saved.set_worker_id(lease.holder.worker);
    saved.set_incarnation(lease.holder.incarnation);
    for (const Piece& piece : lease.out) save(piece, saved.add_out());
  }
  state->mutable_done_in_epoch()->insert(done_in_epoch_.begin(), done_in_epoch_.end());
  state->set_epochs_done(epochs_done_);
  state->set_committed(committed_);
  state->set_skipped(skipped_);
  state->set_handed_out_again(again_);
}

absl::Status DataLeases::Restore(const v1::DataLeasesState& state) {
  const auto piece = [](const v1::LeasedPiece& saved) {
    return Piece{saved.epoch(), saved.begin(), saved.end(), saved.retries()};
  };
  next_epoch_ = state.next_epoch();
  next_position_ = state.next_position();
  next_lease_ = state.next_lease();
  for (const v1::LeasedPiece& saved : state.returned()) returned_.push_back(piece(saved));
  for (const v1::DataLease& saved : state.leases()) {
    const auto [it, added] = leases_.try_emplace(saved.lease());
    if (!added || saved.lease() >= next_lease_ || saved.out().empty()) {
      return absl::DataLossError(absl::StrCat("data leases: lease ", saved.lease(), " with ", saved.out_size(),
                                              " ranges is there twice, empty, or not below ", next_lease_));
    }
    it->second.holder = {saved.worker_id(), saved.incarnation()};
    for (const v1::LeasedPiece& out : saved.out()) it->second.out.push_back(piece(out));
    pieces_[it->second.holder] += it->second.out.size();
  }
  done_in_epoch_.insert(state.done_in_epoch().begin(), state.done_in_epoch().end());
  epochs_done_ = state.epochs_done();
  committed_ = state.committed();
  skipped_ = state.skipped();
  again_ = state.handed_out_again();
  return CheckInvariant();
}

absl::Status DataLeases::CheckInvariant() const {
  std::vector<Piece> pieces(returned_.begin(), returned_.end());
  for (const auto& [id, lease] : leases_) pieces.insert(pieces.end(), lease.out.begin(), lease.out.end());
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return a.epoch != b.epoch ? a.epoch < b.epoch : a.begin < b.begin; });
  std::map<std::uint64_t, std::uint64_t> accounted = done_in_epoch_;  // records, by epoch
  const Piece* before = nullptr;
  for (const Piece& piece : pieces) {
    const bool overlaps = before != nullptr && before->epoch == piece.epoch && piece.begin < before->end;
    if (piece.begin >= piece.end || piece.end > config_.num_records || overlaps) {
      return absl::DataLossError(absl::StrCat("data leases: [", piece.begin, ", ", piece.end, ") of epoch ",
                                              piece.epoch, " is there twice or not within ", config_.num_records,
                                              " records"));
    }
    accounted[piece.epoch] += piece.end - piece.begin;
    before = &piece;
  }
  // Every epoch from the first that is not done up to the one that is handed out next.
  if (epochs_done_ > next_epoch_ || next_position_ >= config_.num_records ||
      accounted.size() != next_epoch_ - epochs_done_ + (next_position_ > 0 ? 1 : 0)) {
    return absl::DataLossError(absl::StrCat("data leases: ", accounted.size(), " epochs are under way, ", epochs_done_,
                                            " done, and record ", next_position_, " of epoch ", next_epoch_,
                                            " comes next"));
  }
  for (const auto& [epoch, records] : accounted) {
    const std::uint64_t handed_out = epoch < next_epoch_ ? config_.num_records : next_position_;
    if (epoch < epochs_done_ || epoch > next_epoch_ || records != handed_out) {
      return absl::DataLossError(absl::StrCat("data leases: of epoch ", epoch, ", ", handed_out,
                                              " records were handed out, and ", records, " are accounted for"));
    }
  }
  return absl::OkStatus();
}

}  // namespace leeway
