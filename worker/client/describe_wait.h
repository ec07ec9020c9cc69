// DescribeWait: who keeps a thread waiting, as its pull or push and the caller know it.
//
// Thread safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "worker/client/caller.h"
#include "worker/client/pull.h"

namespace leeway {

// A wait that is told is as long: a shard that holds a pull at its gate has said so by then.
inline constexpr absl::Duration kWorthTelling = absl::Seconds(6);
static_assert(Caller::kGateWait < kWorthTelling);
inline constexpr std::size_t kMostWaits = 4;        // told at once; of them
inline constexpr int kMostWaitedFor = 8;            // workers at a gate
inline constexpr std::size_t kLongestReason = 200;  // bytes of an error

// The thread has waited since `from`, by `kind` for the shards in `missing`, or for the coordinator (DATA, COMMIT,
// TICKET). Those first that cannot be reached; shards that hold a pull for other workers are one wait, at the gate.
std::vector<v1::WaitUnderWay> DescribeWait(Caller& caller, v1::WaitKind kind, Instant from,
                                           std::optional<std::uint64_t> clock,
                                           const std::vector<MissingAnswer>& missing);

// In words, for a log; of workers it knows no more than their numbers.
std::string InWords(const std::vector<v1::WaitUnderWay>& waits);

}  // namespace leeway
