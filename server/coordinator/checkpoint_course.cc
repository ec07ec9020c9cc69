#include "server/coordinator/checkpoint_course.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

// Steps before a return from parking: one of which something has come to any shard belongs to the cut. A shard that has
// not heard of the return has all below its clock.
void AddStepsBefore(const std::vector<v1::MemberClock>& seen, v1::MemberClock* limit) {
  std::set<std::uint64_t> begun;
  std::set<std::uint64_t> open;
  for (const v1::MemberClock& one : seen) {
    begun.insert(one.begun().begin(), one.begun().end());
    open.insert(one.not_begun().begin(), one.not_begun().end());
  }
  for (const std::uint64_t step : open) {
    const bool has = std::any_of(seen.begin(), seen.end(), [step](const v1::MemberClock& one) {
      return one.entry() <= step && step < one.clock();
    });
    if (has) begun.insert(step);
  }
  for (const std::uint64_t step : begun) limit->add_begun(step);
  for (const std::uint64_t step : open) {
    if (begun.count(step) == 0) limit->add_not_begun(step);
  }
}

}  // namespace

void CheckpointCourse::Start(Instant last, std::uint64_t last_steps) {
  last_ = last;
  last_steps_ = last_steps;
}

bool CheckpointCourse::Due(Instant now, std::uint64_t steps) const {
  if (!MayBegin(now)) return false;
  const bool by_steps = config_.every_steps > 0 && steps >= last_steps_ && steps - last_steps_ >= config_.every_steps;
  return by_steps || now - last_ >= config_.every;
}

void CheckpointCourse::Begin(Instant now, std::uint64_t id, const std::string& name,
                             std::optional<std::uint64_t> last_round) {
  cut_.Clear();
  cut_.set_id(id);
  cut_.set_name(name);
  reports_.assign(config_.num_shards, std::nullopt);
  last_round_ = last_round;
  failure_.clear();
  waited_for_to_end_ = false;
  began_ = now;
}

bool CheckpointCourse::Report(std::uint32_t shard, const v1::CutReport& report) {
  if (!under_way() || report.id() != cut_.id() || written() || !failure_.empty()) return false;
  if (!report.error().empty()) {
    failure_ = report.error();
    return true;
  }
  const bool was_written = reports_[shard] && reports_[shard]->written();
  if (was_written) return false;
  reports_[shard] = report;
  if (cut_.limited()) return written();
  if (std::any_of(reports_.begin(), reports_.end(), [](const auto& known) { return !known; })) return false;
  SetLimits();
  return true;
}

void CheckpointCourse::SetLimits() {
  // By incarnation: a shard may not have heard yet that a worker has come back under another one.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<v1::MemberClock>> all;
  std::uint64_t most = 0;
  for (const auto& report : reports_) {
    most = std::max<std::uint64_t>(most, report->round());
    for (const v1::MemberClock& seen : report->seen()) {
      all[{seen.worker_id(), seen.incarnation()}].push_back(seen);
      most = std::max<std::uint64_t>(most, seen.clock());
    }
  }
  most = last_round_.value_or(most);
  cut_.set_limited(true);
  if (config_.one_limit) cut_.set_round(most);
  for (const auto& [worker, seen] : all) {
    v1::MemberClock& limit = *cut_.add_limits();
    limit.set_worker_id(worker.first);
    limit.set_incarnation(worker.second);
    for (const v1::MemberClock& one : seen) limit.set_clock(std::max(limit.clock(), one.clock()));
    if (config_.one_limit) limit.set_clock(most);
    AddStepsBefore(seen, &limit);
  }
}

bool CheckpointCourse::Expire(Instant now) {
  if (!under_way() || written() || !failure_.empty() || now - began_ < config_.give_up_after) return false;
  failure_ = absl::StrCat("not written within ", absl::FormatDuration(config_.give_up_after));
  return true;
}

bool CheckpointCourse::written() const {
  return under_way() &&
         std::all_of(reports_.begin(), reports_.end(), [](const auto& report) { return report && report->written(); });
}

std::vector<v1::CutReport> CheckpointCourse::reports() const {
  std::vector<v1::CutReport> all;
  for (const auto& report : reports_) all.push_back(*report);
  return all;
}

void CheckpointCourse::End(Instant now, std::uint64_t steps, bool committed) {
  cut_.Clear();
  if (committed) {
    last_ = now;
    last_steps_ = steps;
    not_before_.reset();
  } else {
    not_before_ = now + kTryAgain;
  }
}

}  // namespace leeway
