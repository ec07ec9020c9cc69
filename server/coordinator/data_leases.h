// DataLeases: hands out the training set in ranges, so that a slow worker gets fewer, a dead worker's go to
// others, and each record of each epoch is committed exactly once.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: every position of every epoch begun is in exactly one state: not handed out, leased to one
// worker, waiting to be handed out again, or committed (skipped ones count as committed). Nobody is handed out more
// while it holds max_pieces, nor has more than twice as many by cutting up what it has.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

class DataLeases {
 public:
  struct Config {
    std::uint64_t num_records = 0;
    std::uint64_t epochs = 0;       // 0: without end
    std::uint64_t max_range = 0;    // records that one lease holds at most; 0: as many as asked for
    std::uint32_t max_retries = 3;  // a range whose push was refused so often is skipped, and counted
    // How many ranges a holder has at once: what it makes others keep and save is bounded. A worker has a few for each
    // batch that it has begun and not committed, of which there are some 30 at most.
    std::uint64_t max_pieces = 4096;
  };
  struct Holder {
    std::uint32_t worker = 0;
    std::uint64_t incarnation = 0;
    friend auto operator<=>(const Holder&, const Holder&) = default;
  };

  explicit DataLeases(const Config& config) : config_(config) {}

  // Up to `records` records: what came back first, then the next of the epoch. Nothing: all of it is out or done, or
  // this holder has to commit some first. A range never spans epochs.
  std::optional<v1::DataRange> Acquire(const Holder& holder, std::uint64_t records);

  // The push of this part of a lease has its final verdict. Not applied: the part is handed out again.
  // A part that is no longer this holder's (it expired, or was committed already) changes nothing, nor does one out of
  // the middle of a piece that would leave the holder more than 2 * max_pieces: a worker commits nearly in order.
  // Returns how many records were newly committed.
  std::uint64_t Commit(const Holder& holder, const v1::DataRange& part, bool applied);

  // The holder gives back a part unused; GiveBackAll: it is gone.
  void GiveBack(const Holder& holder, const v1::DataRange& part);
  void GiveBackAll(const Holder& holder);

  // For a restart: Restore gives a new object all that another one of this configuration saved. DATA_LOSS: no such
  // object can have saved it, as the invariant does not hold; then this one must not be used.
  void Save(v1::DataLeasesState* state) const;
  absl::Status Restore(const v1::DataLeasesState& state);

  bool done() const { return config_.epochs > 0 && epochs_done_ >= config_.epochs; }
  std::uint64_t epochs_done() const { return epochs_done_; }  // epochs whose every record is committed
  std::uint64_t committed() const { return committed_; }      // records, over all epochs
  std::uint64_t skipped() const { return skipped_; }          // records given up after max_retries
  std::uint64_t handed_out_again() const { return again_; }   // ranges

 private:
  struct Piece {  // positions [begin, end) of `epoch`
    std::uint64_t epoch = 0;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint32_t retries = 0;
  };
  struct Lease {
    Holder holder;
    std::vector<Piece> out;  // not yet committed or given back; ascending, disjoint
  };

  // Takes the part out of its lease; what of it the holder really held.
  std::vector<Piece> Cut(const Holder& holder, const v1::DataRange& part);
  // It is to be handed out before all that waits, or after it. Joined with the neighbour that it finds there: what
  // comes back bit by bit does not go out so.
  enum class Turn { kFirst, kLast };
  void Return(const Piece& piece, Turn turn);
  std::uint64_t CountDone(const Piece& piece);
  absl::Status CheckInvariant() const;

  const Config config_;
  std::uint64_t next_epoch_ = 0;
  std::uint64_t next_position_ = 0;
  std::uint64_t next_lease_ = 1;
  std::deque<Piece> returned_;
  std::map<std::uint64_t, Lease> leases_;
  std::map<Holder, std::uint64_t> pieces_;                // that are out
  std::map<std::uint64_t, std::uint64_t> done_in_epoch_;  // of epochs begun and not done
  std::uint64_t epochs_done_ = 0;
  std::uint64_t committed_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t again_ = 0;
};

}  // namespace leeway
