#include "worker/trainer/work_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace leeway {

WorkSource::WorkSource(const Options& options, std::uint64_t total_steps)
    : rounds_(options.policy.aggregation() == v1::ROUND),
      samples_per_step_(options.samples_per_step),
      total_steps_(total_steps),
      feed_(options.data_cursor, total_steps),
      lead_(options.samples_per_step, options.num_records / std::max<std::uint64_t>(options.policy.num_workers(), 1)) {}

absl::StatusOr<WorkSource> WorkSource::Make(const Options& options) {
  if (options.num_records == 0 || options.samples_per_step == 0) {
    return absl::InvalidArgumentError(absl::StrCat("data: ", options.num_records, " records in steps of ",
                                                   options.samples_per_step, "; both must be 1 or more"));
  }
  if (options.policy.data_sharing() == v1::LEASED) {
    WorkSource source(options, 0);
    source.leased_.emplace(options.num_records, options.samples_per_step, options.policy.seed());
    return source;
  }
  StaticBatchSource::Options partition;
  partition.num_records = options.num_records;
  partition.rank = options.rank;
  partition.num_ranks = options.policy.num_workers();
  partition.batch_size = options.samples_per_step;
  partition.seed = options.policy.seed();
  if (options.policy.aggregation() == v1::ROUND) partition.rounds_per_epoch = options.rounds_per_epoch;
  ASSIGN_OR_RETURN(StaticBatchSource batches, StaticBatchSource::Make(partition));
  WorkSource source(options, options.policy.stop().epochs() * batches.steps_per_epoch());
  source.static_.emplace(std::move(batches));
  return source;
}

bool WorkSource::finished(std::uint64_t clock) const {
  if (leased_) return false;
  return rounds_ ? total_steps_ > 0 && clock >= total_steps_ : feed_.finished();
}

WorkSource::Answer WorkSource::Take(std::uint64_t clock, bool short_allowed, Work* work) {
  if (leased_) {
    if (leased_->missing() > 0 && !short_allowed) return Answer::kNeedsData;
    std::optional<RecordBatch> batch = leased_->Next();
    if (!batch) return Answer::kNeedsData;
    *work = {*std::move(batch), 0};
    return Answer::kWork;
  }
  if (finished(clock)) return Answer::kFinished;
  if (rounds_) {
    *work = {static_->At(clock), clock};
    return Answer::kWork;
  }
  const std::optional<std::uint64_t> step = feed_.Next();
  if (!step) return Answer::kLater;
  *work = {static_->At(*step), *step};
  return Answer::kWork;
}

void WorkSource::Return(Work work) {
  if (leased_) {
    returned_.insert(returned_.end(), work.batch.ranges.begin(), work.batch.ranges.end());
  } else if (!rounds_) {
    feed_.Return(work.data_step);
  }
}

v1::CommitDataRequest WorkSource::Settle(const Work& work, std::uint64_t clock, bool applied, bool partial) {
  v1::CommitDataRequest commit;
  commit.set_clock(clock);
  commit.set_applied(applied && !partial);
  commit.set_partial(partial);
  commit.set_samples(work.batch.records.size());
  for (const v1::DataRange& range : work.batch.ranges) *commit.add_ranges() = range;
  if (leased_) return commit;
  if (rounds_) {
    commit.set_data_step(clock + 1);
    return commit;
  }
  if (!feed_.Settle(work.data_step, applied && !partial)) {
    spdlog::warn("data step {} was not applied in {} attempts and is left out", work.data_step, StaticFeed::kAttempts);
  }
  commit.set_data_step(feed_.done());
  return commit;
}

absl::Status WorkSource::Add(const v1::DataRange& range) {
  if (!leased_) return absl::InternalError("data: a leased range, but data sharing is static");
  return leased_->Add(range);
}

std::vector<v1::DataRange> WorkSource::TakeRemaining() {
  std::vector<v1::DataRange> remaining = std::exchange(returned_, {});
  if (!leased_) return remaining;
  for (v1::DataRange& range : leased_->TakeRemaining()) remaining.push_back(std::move(range));
  return remaining;
}

}  // namespace leeway
