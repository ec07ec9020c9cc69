// HeldRequest: a request that the coordinator holds until it can answer, or its time is up.
//
// Thread safety: none; a plain record, guarded by its owner.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/rpc.h"
#include "proto/coordinator.pb.h"

namespace leeway {

struct HeldRequest {
  // From kCheckpoint on: of people, who are nobody's member.
  enum Kind { kJoin, kWatch, kAcquire, kCheckpoint, kSetPolicy, kDrain } kind = kJoin;
  v1::JoinRequest join;
  v1::WatchRequest watch;
  v1::AcquireDataRequest acquire;
  v1::CheckpointRequest checkpoint;
  v1::SetPolicyRequest set_policy;
  std::uint64_t change = 0;  // that it has begun
  std::string drained;       // the worker's name, or "ps-1"
  std::optional<std::uint32_t> drained_shard;
  std::uint32_t drained_worker = 0;
  std::uint64_t drained_incarnation = 0;  // or generation
  ReplyCallback done;
  std::uint64_t timer = 0;
  bool expired = false;
};

}  // namespace leeway
