// CoordinatorLog: where the coordinator's decisions go before anybody hears of them, so that a restarted
// coordinator knows them. One record is the snapshot of what was decided; the newest record is the truth.
//
// Thread safety: called by one thread at a time.
#pragma once

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class CoordinatorLog {
 public:
  virtual ~CoordinatorLog() = default;

  // Returns when the record is as safe as the log makes it. An error: the decision must not be published.
  virtual absl::Status Append(const v1::WatchReply& decision) = 0;
};

// Keeps nothing: the decisions live and die with the process, as the weights do without a journal.
class VolatileCoordinatorLog final : public CoordinatorLog {
 public:
  absl::Status Append(const v1::WatchReply&) override { return absl::OkStatus(); }
};

}  // namespace leeway
