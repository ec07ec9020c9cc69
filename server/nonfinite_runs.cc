#include "server/nonfinite_runs.h"

#include <algorithm>

namespace leeway {

NonFiniteRuns::NonFiniteRuns(const Saved& saved) {
  for (const v1::NonFiniteRun& run : saved) runs_[run.worker_id()] = {run.current(), run.longest()};
}

void NonFiniteRuns::Add(WorkerId worker, bool nonfinite) {
  if (nonfinite) {
    Run& run = runs_[worker];
    run.longest = std::max(run.longest, ++run.current);
  } else if (const auto it = runs_.find(worker); it != runs_.end()) {
    it->second.current = 0;
  }
}

void NonFiniteRuns::Save(Saved* out) const {
  for (const auto& [worker, run] : runs_) {
    v1::NonFiniteRun& saved = *out->Add();
    saved.set_worker_id(worker);
    saved.set_current(run.current);
    saved.set_longest(run.longest);
  }
}

}  // namespace leeway
