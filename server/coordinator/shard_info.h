// ShardInfo: what the coordinator knows of one `ps`.
//
// Thread safety: none; a plain record, guarded by its owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "server/coordinator/recent_rate.h"

namespace leeway {

struct ShardInfo {
  std::string address;
  v1::LocalEndpoint local_endpoint;
  std::uint64_t generation = 0;        // 0: has not come
  std::uint32_t protocol_version = 0;  // 0: not known: it has not come to this coordinator's process
  Instant seen;
  bool silent = false;             // and that has been said
  std::string pushes_wait;         // for what, if its journal cannot be written
  std::string refused;             // why a process that wants to be it was, as the log says
  Instant refused_said;            // when it said so: who is refused comes again
  std::uint64_t acknowledged = 0;  // sequence
  std::uint64_t closed_round = 0;
  bool weights_ready = false;
  v1::ShardStats stats;
  RecentRate push_bytes;
  RecentRate pull_bytes;
  // Records that its journal must hold when it is started again: by what it has said itself, and by what workers were
  // answered; and which of them has said so.
  v1::JournalPlace journal;
  std::uint64_t answered = 0;
  std::string answered_said_by;
  // The same of a process that is not known: it serves workers and has not been heard of here, or it has died before
  // that. The latter, once the known process acknowledges a snapshot from `next_since` on: so it lives after the other.
  std::uint64_t next_generation = 0;
  std::uint64_t next_answered = 0;
  std::uint64_t next_since = 0;  // sequence
  // Of former generations so many are known: one that is older has met its calls' deadlines long since.
  static constexpr std::size_t kReplacedKnown = 16;
  std::deque<std::uint64_t> replaced;  // generations before this one, the last at the back
  // Of each of these, the fewest records that a process after it has found: what it wrote beyond is lost, though others
  // have written records of the same numbers since.
  std::deque<std::uint64_t> found_since;
};

}  // namespace leeway
