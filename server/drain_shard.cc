#include "server/drain_shard.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "absl/time/clock.h"
#include "server/ask_checkpoint.h"

namespace leeway {
namespace {

// Of the limit: until then a checkpoint is waited for, and until then what is under way.
constexpr double kCheckpointShare = 0.8;
constexpr double kQuietShare = 0.9;
// A draining cluster's coordinator may be gone before this `ps`.
constexpr absl::Duration kUnreachable = absl::Seconds(3);
constexpr absl::Duration kLook = absl::Milliseconds(20);

}  // namespace

void DrainShard(const DrainOptions& options, Shard* shard, Transport& transport, const std::function<bool()>& over) {
  const absl::Time begun = absl::Now();
  const std::uint64_t cut = shard->last_cut();
  CheckpointAsk ask;
  ask.coordinator = options.coordinator;
  ask.if_possible = true;
  ask.limit = options.limit * kCheckpointShare;
  ask.unreachable_limit = std::min(kUnreachable, ask.limit);
  // Behind the cut this shard's steps are no part of the checkpoint, so it takes no more.
  ask.go_on = [&] {
    if (shard->last_cut() != cut) shard->Drain();
    return !over();
  };
  if (const absl::StatusOr<v1::CheckpointReply> reply = AskForCheckpoint(transport, ask); reply.ok()) {
    spdlog::info("ps {}: {} is committed", options.shard_index, reply->path());
  } else if (!over()) {
    spdlog::warn("ps {}: it ends without a checkpoint{}: {}", options.shard_index,
                 options.keeps_journal ? ", but with its journal" : "", std::string(reply.status().message()));
  }
  shard->Drain();
  const absl::Time until = begun + options.limit * kQuietShare;
  while (!shard->Quiet() && absl::Now() < until) absl::SleepFor(kLook);
  auto written = std::make_shared<std::atomic<bool>>(false);
  shard->WhenWritten([written](const absl::Status&) { *written = true; });
  while (!*written && absl::Now() < until) absl::SleepFor(kLook);
}

}  // namespace leeway
