#include "worker/data/batch_source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/permutation.h"

namespace leeway {
namespace {

std::uint64_t CeilDiv(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0); }

}  // namespace

StaticBatchSource::StaticBatchSource(const Options& options)
    : options_(options),
      partition_size_(options.num_records / options.num_ranks +
                      (options.rank < options.num_records % options.num_ranks ? 1 : 0)),
      steps_per_epoch_(CeilDiv(partition_size_, options.batch_size)) {
  if (options.rounds_per_epoch != 0) steps_per_epoch_ = options.rounds_per_epoch;
}

absl::StatusOr<StaticBatchSource> StaticBatchSource::Make(const Options& options) {
  if (options.rank >= options.num_ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat("static data: rank is ", options.rank, "; with ", options.num_ranks, " ranks it must be less"));
  }
  if (options.batch_size == 0)
    return absl::InvalidArgumentError("static data: the batch size is 0; it must be 1 or more");
  StaticBatchSource source(options);
  const std::uint64_t needed = CeilDiv(source.partition_size_, options.batch_size);
  if (source.steps_per_epoch_ < needed) {
    return absl::InvalidArgumentError(
        absl::StrCat("static data: ", options.rounds_per_epoch, " rounds per epoch; rank ", options.rank, " needs ",
                     needed, " for its ", source.partition_size_, " records in batches of ", options.batch_size));
  }
  if (source.steps_per_epoch_ == 0) {
    return absl::InvalidArgumentError(absl::StrCat("static data: rank ", options.rank, " of ", options.num_ranks,
                                                   " has no record: there are only ", options.num_records));
  }
  return source;
}

RecordBatch StaticBatchSource::At(std::uint64_t step) const {
  RecordBatch batch;
  batch.epoch = step / steps_per_epoch_;
  const std::uint64_t step_of_epoch = step % steps_per_epoch_;
  // Divided first: the product may overflow where the round lies far behind the records.
  if (step_of_epoch >= CeilDiv(partition_size_, options_.batch_size)) return batch;
  const std::uint64_t begin = step_of_epoch * options_.batch_size;
  const std::uint64_t count = std::min(options_.batch_size, partition_size_ - begin);
  const Permutation order(partition_size_, HashCombine(options_.seed, options_.rank), batch.epoch);
  batch.records.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    batch.records.push_back(order.At(begin + i) * options_.num_ranks + options_.rank);
  }
  return batch;
}

LeasedBatchSource::LeasedBatchSource(std::uint64_t num_records, std::uint64_t batch_size, std::uint64_t seed)
    : num_records_(num_records), batch_size_(batch_size), seed_(seed) {}

absl::Status LeasedBatchSource::Add(const v1::DataRange& range) {
  if (range.begin() >= range.end() || range.end() > num_records_) {
    return absl::InvalidArgumentError(absl::StrCat("leased data: lease ", range.lease(), " is the range [",
                                                   range.begin(), ", ", range.end(),
                                                   "); allowed are non-empty ranges within [0, ", num_records_, ")"));
  }
  ranges_.push_back(range);
  return absl::OkStatus();
}

std::uint64_t LeasedBatchSource::missing() const {
  std::uint64_t wanted = batch_size_;
  for (const v1::DataRange& range : ranges_) {
    if (range.epoch() != ranges_.front().epoch()) return 0;
    const std::uint64_t size = range.end() - range.begin();
    if (size >= wanted) return 0;
    wanted -= size;
  }
  return wanted;
}

std::uint64_t LeasedBatchSource::in_hand() const {
  std::uint64_t records = 0;
  for (const v1::DataRange& range : ranges_) records += range.end() - range.begin();
  return records;
}

std::optional<RecordBatch> LeasedBatchSource::Next() {
  if (ranges_.empty()) return std::nullopt;
  RecordBatch batch;
  batch.epoch = ranges_.front().epoch();
  const Permutation order(num_records_, seed_, batch.epoch);
  while (batch.records.size() < batch_size_ && !ranges_.empty() && ranges_.front().epoch() == batch.epoch) {
    v1::DataRange& front = ranges_.front();
    v1::DataRange cut = front;
    cut.set_end(front.begin() + std::min(batch_size_ - batch.records.size(), front.end() - front.begin()));
    for (std::uint64_t position = cut.begin(); position < cut.end(); ++position) {
      batch.records.push_back(order.At(position));
    }
    front.set_begin(cut.end());
    if (front.begin() == front.end()) ranges_.pop_front();
    batch.ranges.push_back(std::move(cut));
  }
  return batch;
}

std::vector<v1::DataRange> LeasedBatchSource::TakeRemaining() {
  std::vector<v1::DataRange> remaining(ranges_.begin(), ranges_.end());
  ranges_.clear();
  return remaining;
}

}  // namespace leeway
