#include "cli/why/wait_keeper.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace leeway {

void WaitKeeper::Take(v1::GetStatusReply* status) {
  for (v1::WorkerWait& wait : *status->mutable_waits()) waits_.push_back(std::move(wait));
  lost_ += status->lost_waits();
  status->clear_waits();
  status->clear_lost_waits();
  for (; waits_.size() > kMost; ++lost_) waits_.pop_front();
}

void WaitKeeper::Give(v1::GetStatusReply* status) const {
  std::vector<v1::WorkerWait> sorted(waits_.begin(), waits_.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const v1::WorkerWait& a, const v1::WorkerWait& b) {
    return a.wait().begin_micros() < b.wait().begin_micros();
  });
  for (v1::WorkerWait& wait : sorted) *status->add_waits() = std::move(wait);
  status->set_lost_waits(lost_);
}

}  // namespace leeway
