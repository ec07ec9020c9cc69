#include "server/coordinator/waits_under_way.h"

#include <algorithm>

#include "common/utf8.h"

namespace leeway {
namespace {

// 30 years: what is told as longer cannot be, and overflows nothing.
constexpr std::uint64_t kMostMillis = 1'000'000'000'000;

std::uint64_t MillisBy(Instant now, Instant heard, const v1::WaitUnderWay& wait) {
  return wait.millis() + static_cast<std::uint64_t>(std::max<std::int64_t>(absl::ToInt64Milliseconds(now - heard), 0));
}

v1::WaitUnderWay Bounded(const v1::WaitUnderWay& told) {
  v1::WaitUnderWay wait;
  wait.set_kind(told.kind());
  if (told.has_shard()) wait.set_shard(told.shard());
  wait.set_address(PrintableUtf8(told.address(), WaitsUnderWay::kLongestAddress));
  for (int i = 0; i < std::min(told.on_size(), WaitsUnderWay::kMostWorkers); ++i) {
    wait.add_on()->set_worker_id(told.on(i).worker_id());
    wait.mutable_on(i)->set_clock(told.on(i).clock());
  }
  if (told.has_clock()) wait.set_clock(told.clock());
  wait.set_millis(std::min<std::uint64_t>(told.millis(), kMostMillis));
  wait.set_error(PrintableUtf8(told.error(), WaitsUnderWay::kLongest));
  wait.set_reason(PrintableUtf8(told.reason(), WaitsUnderWay::kLongest));
  return wait;
}

}  // namespace

void WaitsUnderWay::Hear(Instant now, const v1::HeartbeatRequest& heartbeat) {
  Member& member = members_[heartbeat.stamp().worker_id()];
  if (member.incarnation != heartbeat.stamp().incarnation()) member = {heartbeat.stamp().incarnation(), 0, {}, {}};
  if (heartbeat.number() < member.number) return;
  member.number = heartbeat.number();
  member.heard = now;
  member.waits.clear();
  for (int i = 0; i < std::min(heartbeat.waits_size(), kMost); ++i) member.waits.push_back(Bounded(heartbeat.waits(i)));
}

void WaitsUnderWay::Fill(Instant now, v1::WorkerStatus* worker) const {
  const auto it = members_.find(worker->worker_id());
  if (it == members_.end()) return;
  for (const v1::WaitUnderWay& wait : it->second.waits) {
    v1::WaitUnderWay& filled = *worker->add_waits_under_way();
    filled = wait;
    filled.set_millis(MillisBy(now, it->second.heard, wait));
  }
}

absl::Duration WaitsUnderWay::Longest(Instant now, std::uint32_t worker) const {
  const auto it = members_.find(worker);
  if (it == members_.end()) return absl::ZeroDuration();
  std::uint64_t longest = 0;
  for (const v1::WaitUnderWay& wait : it->second.waits) {
    longest = std::max(longest, MillisBy(now, it->second.heard, wait));
  }
  return absl::Milliseconds(static_cast<std::int64_t>(longest));
}

}  // namespace leeway
