// The trace of `leeway why`: the single waits as a Chrome trace (JSON), which Perfetto and chrome://tracing open: a
// track per worker, a slice per wait.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "proto/coordinator.pb.h"

namespace leeway {

// Of `status.waits()`. Format: the "JSON Object Format" of Chrome's Trace Event Format: complete events ("X") with ts
// and dur in microseconds since training began, and metadata events ("M") that name processes and threads.
std::string WhyTrace(const v1::GetStatusReply& status);

}  // namespace leeway
