// EchoLoad: a number of calls outstanding for a while, each followed by the next as soon as it is answered, on the
// thread that brings the answer.
//
// Thread safety: RunEchoLoad blocks its thread.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace leeway {

// Makes one call; `done` comes once, from any thread, later.
using EchoDone = std::function<void(const absl::Status&)>;
using EchoCall = std::function<void(EchoDone done)>;

struct EchoFigures {
  std::vector<double> seconds;  // of every call, ascending
  double calls_per_second = 0;

  double Percentile(double p) const;  // 0 <= p <= 1. Requires a call.
};

// The first call's error that was one.
absl::StatusOr<EchoFigures> RunEchoLoad(const EchoCall& call, int outstanding, absl::Duration time);

}  // namespace leeway
