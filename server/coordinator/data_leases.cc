#include "server/coordinator/data_leases.h"

#include <algorithm>
#include <utility>

namespace leeway {

std::optional<v1::DataRange> DataLeases::Acquire(const Holder& holder, std::uint64_t records) {
  if (config_.max_range > 0) records = std::min(records, config_.max_range);
  if (records == 0 || config_.num_records == 0 || pieces_[holder] >= config_.max_pieces) return std::nullopt;
  Piece piece;
  if (!returned_.empty()) {
    piece = returned_.front();
    if (piece.end - piece.begin <= records) {
      returned_.pop_front();
    } else {
      returned_.front().begin = piece.end = piece.begin + records;
    }
  } else {
    if (config_.epochs > 0 && next_epoch_ >= config_.epochs) return std::nullopt;
    piece = {next_epoch_, next_position_, std::min(config_.num_records, next_position_ + records), 0};
    next_position_ = piece.end;
    if (next_position_ == config_.num_records) {
      next_position_ = 0;
      ++next_epoch_;
    }
  }
  const std::uint64_t id = next_lease_++;
  leases_[id] = {holder, {piece}};
  ++pieces_[holder];
  v1::DataRange range;
  range.set_lease(id);
  range.set_epoch(piece.epoch);
  range.set_begin(piece.begin);
  range.set_end(piece.end);
  return range;
}

std::vector<DataLeases::Piece> DataLeases::Cut(const Holder& holder, const v1::DataRange& part) {
  std::vector<Piece> taken;
  const auto it = leases_.find(part.lease());
  if (it == leases_.end() || it->second.holder != holder) return taken;
  std::vector<Piece> kept;
  for (const Piece& piece : it->second.out) {
    const std::uint64_t begin = std::max(piece.begin, part.begin());
    const std::uint64_t end = std::min(piece.end, part.end());
    if (piece.epoch != part.epoch() || begin >= end) {
      kept.push_back(piece);
      continue;
    }
    if (piece.begin < begin) kept.push_back({piece.epoch, piece.begin, begin, piece.retries});
    taken.push_back({piece.epoch, begin, end, piece.retries});
    if (end < piece.end) kept.push_back({piece.epoch, end, piece.end, piece.retries});
  }
  const std::uint64_t pieces = pieces_[holder] + kept.size() - it->second.out.size();
  if (kept.size() > it->second.out.size() && pieces > 2 * config_.max_pieces) return {};
  pieces_[holder] = pieces;
  it->second.out = std::move(kept);
  if (it->second.out.empty()) leases_.erase(it);
  return taken;
}

void DataLeases::Return(const Piece& piece, Turn turn) {
  if (!returned_.empty()) {
    Piece& next = turn == Turn::kFirst ? returned_.front() : returned_.back();
    const bool alike = next.epoch == piece.epoch && next.retries == piece.retries;
    if (alike && (piece.end == next.begin || next.end == piece.begin)) {
      next.begin = std::min(next.begin, piece.begin);
      next.end = std::max(next.end, piece.end);
      return;
    }
  }
  returned_.insert(turn == Turn::kFirst ? returned_.begin() : returned_.end(), piece);
}

std::uint64_t DataLeases::CountDone(const Piece& piece) {
  const std::uint64_t records = piece.end - piece.begin;
  committed_ += records;
  done_in_epoch_[piece.epoch] += records;
  while (!done_in_epoch_.empty() && done_in_epoch_.begin()->first == epochs_done_ &&
         done_in_epoch_.begin()->second == config_.num_records) {
    done_in_epoch_.erase(done_in_epoch_.begin());
    ++epochs_done_;
  }
  return records;
}

std::uint64_t DataLeases::Commit(const Holder& holder, const v1::DataRange& part, bool applied) {
  std::uint64_t records = 0;
  for (Piece& piece : Cut(holder, part)) {
    if (applied) {
      records += CountDone(piece);
    } else if (++piece.retries > config_.max_retries) {
      skipped_ += CountDone(piece);
    } else {
      ++again_;
      Return(piece, Turn::kLast);
    }
  }
  return records;
}

void DataLeases::GiveBack(const Holder& holder, const v1::DataRange& part) {
  // Unused is no failure: it is not charged to the range's retries, and goes first.
  const std::vector<Piece> pieces = Cut(holder, part);
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) Return(*piece, Turn::kFirst);
}

void DataLeases::GiveBackAll(const Holder& holder) {
  for (auto it = leases_.begin(); it != leases_.end();) {
    if (it->second.holder != holder) {
      ++it;
      continue;
    }
    const std::vector<Piece>& out = it->second.out;
    again_ += out.size();
    for (auto piece = out.rbegin(); piece != out.rend(); ++piece) Return(*piece, Turn::kFirst);
    it = leases_.erase(it);
  }
  pieces_.erase(holder);
}

}  // namespace leeway
