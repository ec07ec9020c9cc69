// Waits in words: what each kind is for, and, of one that is under way, for whom and why. The same everywhere: in a
// worker's log and /statusz, in leeway status, workers, top and why, and on the status page.
//
// Thread safety: pure functions. What comes over the wire is handed on as it came.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "proto/coordinator.pb.h"

namespace leeway {

// {"gate", "Pull"}.
std::pair<std::string, std::string> ReasonAndCall(v1::WaitKind kind);

// The same of a wait that is under way: {"no answer", "Pull"} where calls have failed.
std::pair<std::string, std::string> ReasonAndCall(const v1::WaitUnderWay& wait);

using WorkerNames = std::function<std::string(std::uint32_t worker_id)>;
// "worker 7": of one whose name is not known.
std::string WorkerNumber(std::uint32_t worker_id);

// For its own name, of a worker that waits for itself: its pull must contain its own earlier pushes.
inline constexpr char kItsOwnPush[] = "its own push";

// "ps 1 at 10.0.0.7:7100", "worker-2 at clock 13".
std::string Whom(const v1::WaitUnderWay& wait, const WorkerNames& name_of);

// "no answer, Pull of step 17; UNAVAILABLE: connection refused".
std::string WhyItLasts(const v1::WaitUnderWay& wait);

// "ps 1 at 10.0.0.7:7100, 14 s: no answer, Pull of step 17; UNAVAILABLE: connection refused".
std::string WaitWords(const v1::WaitUnderWay& wait, const WorkerNames& name_of);

}  // namespace leeway
