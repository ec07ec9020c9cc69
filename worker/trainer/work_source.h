// WorkSource: which records each step of a worker trains on, and what a commit says about them, for all three
// ways of sharing data: STATIC in rounds (a batch is a function of the round), STATIC with `each` (own steps, each
// until it is done), LEASED (ranges from the coordinator).
//
// Thread safety: as an int. No RPC: the session asks for ranges and sends the commits.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "worker/data/batch_source.h"
#include "worker/trainer/data_lead.h"
#include "worker/trainer/static_feed.h"

namespace leeway {

// The records of one step. Without records (a rank whose data ran out in this epoch) it sends null pushes.
struct Work {
  RecordBatch batch;
  std::uint64_t data_step = 0;  // STATIC: which of this rank's steps it is
};

class WorkSource {
 public:
  struct Options {
    v1::Policy policy;
    std::uint32_t rank = 0;
    std::uint64_t num_records = 0;
    std::uint64_t samples_per_step = 0;
    std::uint64_t data_cursor = 0;
    std::uint64_t rounds_per_epoch = 0;
  };

  enum class Answer {
    kWork,
    kNeedsData,  // LEASED: ask for wanted() records, Add them, come again
    kLater,      // STATIC: all steps are given out, but one may come back when its push is refused
    kFinished,   // STATIC: trained on all epochs
  };

  // INVALID_ARGUMENT: a rank outside the policy's workers, no records for this rank.
  static absl::StatusOr<WorkSource> Make(const Options& options);

  // The work of step `clock`. `short_allowed`: LEASED may give a batch that is not full, because there is no more
  // data at present.
  Answer Take(std::uint64_t clock, bool short_allowed, Work* work);

  // `work` was taken but not computed.
  void Return(Work work);

  // The push of `work` at step `clock` has its final verdict: what to commit, all but the stamp.
  v1::CommitDataRequest Settle(const Work& work, std::uint64_t clock, bool applied, bool partial);

  bool leased() const { return leased_.has_value(); }
  std::uint64_t missing() const { return leased_ ? leased_->missing() : 0; }
  // LEASED: how many records to ask for, which may be ahead of need (missing() is 0 then). 0: there are enough.
  std::uint64_t wanted() const { return leased_ ? lead_.Wanted(leased_->in_hand(), missing()) : 0; }
  void StepBegins(Instant now) { lead_.StepBegins(now); }
  bool HasSome() const { return missing() < samples_per_step_; }  // LEASED: a batch, though perhaps a short one
  absl::Status Add(const v1::DataRange& range);
  // LEASED: what was not pushed, to hand it back.
  std::vector<v1::DataRange> TakeRemaining();

  // STATIC: every epoch is done.
  bool finished(std::uint64_t clock) const;

 private:
  WorkSource(const Options& options, std::uint64_t total_steps);

  bool rounds_ = false;
  std::uint64_t samples_per_step_ = 0;
  std::uint64_t total_steps_ = 0;  // STATIC; 0: without end
  std::optional<StaticBatchSource> static_;
  StaticFeed feed_;
  std::optional<LeasedBatchSource> leased_;
  DataLead lead_;
  std::vector<v1::DataRange> returned_;
};

}  // namespace leeway
