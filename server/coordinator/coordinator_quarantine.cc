// Coordinator: workers that are put in quarantine.
#include <optional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/coordinator/coordinator.h"

namespace leeway {

void Coordinator::HearOfNonFinite(const v1::WatchRequest& request) {
  // At the end they leave anyway.
  if (state_ != v1::TRAINING) return;
  for (const v1::NonFiniteRun& run : request.nonfinite_runs()) {
    const std::optional<std::string> name = membership_.NameOf(run.worker_id());
    if (!name) continue;
    membership_.Keep(*name);  // shards count on, by its id
    if (quarantine_.Observe(*name, run.longest())) PutInQuarantine(*name);
  }
}

void Coordinator::PutInQuarantine(const std::string& name) {
  const std::string reason = quarantine_.Reason(name);
  Event(absl::StrCat("worker '", name, "' is quarantined: ", reason));
  changed_ = true;
  membership_.Keep(name);  // so that another one does not get its rank's share of the data
  const std::optional<std::uint32_t> id = membership_.IdOf(name);
  if (!id) return;
  board_.SetState(*id, name, v1::TRAINER, membership_.RankOf(name).value_or(0), "quarantined", reason);
  if (const v1::Member* member = membership_.Find(*id)) {
    const std::uint64_t incarnation = member->incarnation();
    Forget(*id, incarnation);
    membership_.Leave(*id, incarnation).IgnoreError();
  }
}

absl::Status Coordinator::CheckQuarantine(const std::string& name) const {
  const std::string reason = quarantine_.Reason(name);
  if (reason.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("join: worker '", name, "' is quarantined: ", reason,
                   "; once its cause is found, a worker of another name may take its place"));
}

bool Coordinator::EveryWorkerIsThrough() const {
  if (policies_.policy().data_sharing() != v1::STATIC) return !finished_ranks_.empty();
  std::set<std::uint32_t> through = finished_ranks_;
  for (const std::string& name : quarantine_.names()) {
    if (const std::optional<std::uint32_t> rank = membership_.RankOf(name)) through.insert(*rank);
  }
  return !finished_ranks_.empty() && through.size() >= policies_.policy().num_workers();
}

std::string Coordinator::InQuarantine() const {
  return quarantine_.empty() ? "" : absl::StrCat("; in quarantine: ", absl::StrJoin(quarantine_.names(), ", "));
}

}  // namespace leeway
