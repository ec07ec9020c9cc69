// Identity: who a worker is to its cluster, and what both ends compare when it joins.
//
// Thread safety: pure functions; NewIncarnation from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/manifest.h"
#include "common/placement.h"
#include "common/protocol_version.h"
#include "proto/coordinator.pb.h"

namespace leeway {

struct Identity {
  std::string name;
  std::int32_t rank = -1;        // -1: by sorted names
  std::uint32_t num_shards = 0;  // what it expects; 0: as the cluster says
  absl::Duration give_up_after = absl::Minutes(10);
  // Told OK when it has joined, and before that what it waits for; for the process's /readyz.
  std::function<void(const absl::Status&)> on_ready = [](const absl::Status&) {};
  std::uint32_t protocol_version = kProtocolVersion;  // that it says it speaks: others for tests of upgrades
};

// A random 64-bit incarnation, never 0.
std::uint64_t NewIncarnation();

// What every role says when it joins; it adds its data, a trainer its batch and depth too.
v1::JoinRequest JoinRequestFor(const Identity& identity, v1::Role role, const Manifest& manifest,
                               std::uint64_t incarnation);

// The placement that both ends compute. FAILED_PRECONDITION: the cluster's sizes differ; the message names both.
absl::StatusOr<Placement> PlacementOf(const v1::JoinReply& join, std::uint64_t elements);

}  // namespace leeway
