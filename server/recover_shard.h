// RecoverShard: a shard takes up where an earlier process of it was killed, from what that had written.
//
// Thread safety: at start, before the shard has its first request.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/files.h"
#include "server/journal.h"
#include "server/shard.h"

namespace leeway {

// CHECKPOINT_DIR/journal/shard-00000
std::string JournalDirectory(const std::string& checkpoint_dir, std::uint32_t shard_index);

struct ShardFiles {
  std::unique_ptr<FileLock> lock;  // on the journal: two processes of one shard would mix their records
  std::unique_ptr<Journal> journal;
  std::uint64_t replayed = 0;  // records
  std::string checkpoint;      // that was restored; "": none
};

// Makes `shard` what it was when the checkpoint in `path` was cut, and returns its place in the journal. DATA_LOSS: it
// is damaged; FAILED_PRECONDITION: it is of another number of shards, or of another optimizer.
absl::StatusOr<std::uint64_t> RestoreCheckpoint(const std::string& path, const Shard::Options& options,
                                                FileSystem* files, Shard* shard);

// Restores the newest good checkpoint of this shard, replays the journal from there into `shard`, begins its next file
// and has the shard use it. A checkpoint that is damaged is named in the log, and the one before is used. Errors: the
// file system's;
// UNAVAILABLE: another process has this shard's files; DATA_LOSS and FAILED_PRECONDITION as JournalReader's and
// Shard::Replay's.
absl::StatusOr<ShardFiles> RecoverShard(const std::string& checkpoint_dir, bool fsync, const Shard::Options& options,
                                        FileSystem* files, Clock* clock, Executor* executor, Shard* shard);

}  // namespace leeway
