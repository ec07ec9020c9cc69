// DrainShard: what a `ps` does when it is to end and others go on: it has a checkpoint taken if one is possible, then
// refuses new steps, completes what is under way and writes its journal.
//
// Thread safety: one thread, which it blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "common/transport.h"
#include "server/shard.h"

namespace leeway {

struct DrainOptions {
  std::uint32_t shard_index = 0;
  std::string coordinator;  // host:port
  bool keeps_journal = false;
  absl::Duration limit = absl::Seconds(30);  // a part of it is left for what comes after
};

// `over`: the run has ended meanwhile, and there is nothing to wait for.
void DrainShard(const DrainOptions& options, Shard* shard, Transport& transport, const std::function<bool()>& over);

}  // namespace leeway
