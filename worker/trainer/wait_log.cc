#include "worker/trainer/wait_log.h"

#include <algorithm>
#include <utility>

namespace leeway {
namespace {

std::int64_t Micros(Instant time) { return time.nanos / 1000; }

}  // namespace

void WaitLog::Count(const Key& key, double seconds) {
  Total& total = totals_[key];
  total.seconds += seconds;
  ++total.count;
}

void WaitLog::Add(Instant begin, Instant end, v1::Wait wait) {
  if (end <= begin) return;
  const double seconds = absl::ToDoubleSeconds(end - begin);
  const int kind = wait.kind();
  if (wait.workers().empty()) {
    const std::optional<std::uint32_t> shard = wait.has_shard() ? std::optional(wait.shard()) : std::nullopt;
    Count({kind, shard, std::nullopt}, seconds);
  }
  for (const std::uint32_t worker : wait.workers()) {
    if (workers_.size() < kMostWorkers) workers_.insert(worker);
    const std::optional<std::uint32_t> own = workers_.count(worker) > 0 ? std::optional(worker) : std::nullopt;
    Count({kind, std::nullopt, own}, seconds / static_cast<double>(wait.workers_size()));
  }
  begin = std::max(begin, last_end_);
  last_end_ = std::max(last_end_, end);
  if (end - begin < kShortest) return;
  if (wait.workers_size() > kMostOfOneWait) wait.mutable_workers()->Truncate(kMostOfOneWait);
  wait.set_begin_micros(Micros(begin));
  wait.set_micros(static_cast<std::uint64_t>(Micros(end) - Micros(begin)));
  waits_.push_back(std::move(wait));
  if (waits_.size() <= kMost) return;
  waits_.pop_front();
  ++taken_;
}

void WaitLog::AddTotals(v1::Progress* progress) const {
  for (const auto& [key, total] : totals_) {
    const auto& [kind, shard, worker] = key;
    v1::WaitTotal& wait = *progress->add_waits();
    wait.set_kind(static_cast<v1::WaitKind>(kind));
    if (shard) wait.set_shard(*shard);
    if (worker) wait.set_worker(*worker);
    wait.set_seconds(total.seconds);
    wait.set_count(total.count);
  }
}

void WaitLog::Take(Instant now, v1::ReportProgressRequest* request) {
  request->set_first_wait(taken_);
  request->set_now_micros(Micros(now));
  taken_ += waits_.size();
  for (v1::Wait& wait : waits_) *request->add_waits() = std::move(wait);
  waits_.clear();
}

}  // namespace leeway
