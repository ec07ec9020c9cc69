#include "server/coordinator/wait_board.h"

#include <algorithm>

namespace leeway {

void WaitBoard::Add(Instant now, std::uint32_t worker, std::uint64_t incarnation,
                    const v1::ReportProgressRequest& report) {
  // A monotonic clock is neither negative nor that far; so nothing below overflows.
  if (report.waits().empty() || report.now_micros() < 0 || report.now_micros() > kLatestMicros) return;
  const std::int64_t now_micros = now.nanos / 1000;
  const std::int64_t offset = now_micros - report.now_micros();
  Source& source = sources_[worker];
  if (source.incarnation != incarnation) source = {incarnation, 0, offset};
  source.offset = std::min(source.offset, offset);
  const int count = std::min(report.waits_size(), kMostPerReport);
  for (int i = 0; i < count; ++i) {
    const v1::Wait& told = report.waits(i);
    const std::uint64_t number = report.first_wait() + static_cast<std::uint64_t>(i);
    if (number < source.next) continue;  // told before
    source.next = number + 1;
    const std::uint64_t age =
        static_cast<std::uint64_t>(report.now_micros()) - static_cast<std::uint64_t>(told.begin_micros());
    if (age > static_cast<std::uint64_t>(kOldestMicros) || told.micros() > age || told.workers_size() > kMostWorkers) {
      continue;
    }
    v1::WorkerWait& wait = waits_.emplace_back();
    wait.set_worker_id(worker);
    *wait.mutable_wait() = told;
    // No later than now: the offset is at most what this report says.
    wait.mutable_wait()->set_begin_micros(report.now_micros() + source.offset - static_cast<std::int64_t>(age));
    if (waits_.size() <= kMost) continue;
    waits_.pop_front();
    ++dropped_;
  }
}

void WaitBoard::Fill(Instant start, const v1::GetStatusRequest& request, v1::GetStatusReply* reply) const {
  if (!request.want_waits()) return;
  const std::uint64_t end = dropped_ + waits_.size();
  // A number that is not there yet is of a coordinator before this one.
  const std::uint64_t after = request.waits_after() > end ? 0 : request.waits_after();
  const std::uint64_t first = std::max(after, dropped_);
  const std::uint64_t last = std::min<std::uint64_t>(end, first + kMostPerAnswer);
  for (std::uint64_t i = first; i < last; ++i) {
    v1::WorkerWait& wait = *reply->add_waits();
    wait = waits_[static_cast<std::size_t>(i - dropped_)];
    wait.mutable_wait()->set_begin_micros(wait.wait().begin_micros() - start.nanos / 1000);
  }
  reply->set_next_wait(last);
  reply->set_lost_waits(first - after);
}

}  // namespace leeway
