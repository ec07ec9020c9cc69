// Batch sources: which records a worker's next gradient is computed on.
//
// StaticBatchSource: each rank keeps its own partition, and a batch is a pure function of (seed, epoch,
// step, rank). LeasedBatchSource: batches are cut from ranges that the coordinator leased out, and remember
// the exact ranges they came from, so that a push can name them.
//
// In both, batches never span epochs, and each epoch has each record exactly once over all ranks.
//
// Thread safety: StaticBatchSource is immutable; LeasedBatchSource is for one thread at a time. Neither
// knows threads, time or RPC.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace leeway {

struct RecordBatch {
  std::uint64_t epoch = 0;
  std::vector<std::uint64_t> records;  // indices for Dataset::Gather; empty: a step without data
  std::vector<v1::DataRange> ranges;   // leased: the positions that `records` are, in their order; else empty
};

// Rank r of N owns the records i with i mod N == r, and visits them in the order of a Permutation seeded
// with (seed, epoch, rank).
class StaticBatchSource {
 public:
  struct Options {
    std::uint64_t num_records = 0;
    std::uint32_t rank = 0;
    std::uint32_t num_ranks = 1;
    std::uint64_t batch_size = 0;  // records per step; the last batch of an epoch may hold fewer
    std::uint64_t seed = 0;
    // Steps that every rank makes per epoch: a rank whose records have run out gets empty batches.
    // 0: as many as this rank's own records fill.
    std::uint64_t rounds_per_epoch = 0;
  };

  // INVALID_ARGUMENT: rank >= num_ranks, a batch size of 0, fewer rounds than this rank's records need, or
  // no record for this rank when rounds_per_epoch is 0.
  static absl::StatusOr<StaticBatchSource> Make(const Options& options);

  std::uint64_t partition_size() const { return partition_size_; }
  std::uint64_t steps_per_epoch() const { return steps_per_epoch_; }

  // The batch of this rank's step 0, 1, ...; its epoch is step / steps_per_epoch().
  RecordBatch At(std::uint64_t step) const;

 private:
  explicit StaticBatchSource(const Options& options);

  Options options_;
  std::uint64_t partition_size_ = 0;
  std::uint64_t steps_per_epoch_ = 0;
};

// Positions are those of a Permutation of all records seeded with (seed, epoch), the same on every worker.
class LeasedBatchSource {
 public:
  // Requires num_records > 0 and batch_size > 0.
  LeasedBatchSource(std::uint64_t num_records, std::uint64_t batch_size, std::uint64_t seed);

  // Appends a leased range. INVALID_ARGUMENT: it is empty or goes beyond the records.
  absl::Status Add(const v1::DataRange& range);

  // How many more records of the front range's epoch would fill the next batch. 0: Next() would give no
  // more if more were added, because the batch is full or a range of another epoch follows.
  std::uint64_t missing() const;

  // Records that no batch was cut from.
  std::uint64_t in_hand() const;

  // The next batch: up to batch_size records from the front ranges of one epoch; fewer when there are no
  // more. Nothing when no range is left.
  std::optional<RecordBatch> Next();

  // Takes out what no batch was cut from, to hand it back.
  std::vector<v1::DataRange> TakeRemaining();

 private:
  std::uint64_t num_records_;
  std::uint64_t batch_size_;
  std::uint64_t seed_;
  std::deque<v1::DataRange> ranges_;  // none empty
};

}  // namespace leeway
