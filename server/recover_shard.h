// RecoverShard: a shard takes up where an earlier process of it was killed, from what that had written.
//
// Thread safety: at start, before the shard has its first request.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/files.h"
#include "server/checkpoint_place.h"
#include "server/era.h"
#include "server/journal.h"
#include "server/shard.h"

namespace leeway {

// CHECKPOINT_DIR/journal/shard-00000
std::string JournalDirectory(const std::string& checkpoint_dir, std::uint32_t shard_index);

struct RecoverOptions {
  std::string checkpoint_dir;
  bool journal = true;
  bool fsync = false;                         // of the journal
  std::optional<Era> go_back = std::nullopt;  // into this era, whatever the journal says
  CheckpointPlace checkpoints = {};           // that are restored
};

struct ShardFiles {
  std::unique_ptr<FileLock> lock;    // on the journal: two processes of one shard would mix their records
  std::unique_ptr<Journal> journal;  // null: none is kept
  std::uint64_t replayed = 0;        // records
  std::string checkpoint;            // that was restored; "": none
  Era era;                           // that this shard is in
};

// Makes `shard` what it was when the checkpoint in `path` was cut, and returns its place in the journal of `era`: 0
// when it is what that era began with; then any number of shards will do. NOT_FOUND: it is not committed; DATA_LOSS: it
// is damaged, or of another number of shards; FAILED_PRECONDITION: it is of another era or optimizer.
absl::StatusOr<std::uint64_t> RestoreCheckpoint(const std::string& path, const Era& era, const Shard::Options& options,
                                                FileSystem* files, Shard* shard);

// Restores the newest good checkpoint of this shard, replays the journal from there into `shard`, begins its next file
// and has the shard use it. A checkpoint that is damaged is named in the log, and the one before is used. To go back,
// `go_back->base` alone is restored, on whatever number of shards, without members and what they have pushed, and the
// journal begins anew. Without a journal there is nothing to restore unless the run goes back.
//
// DATA_LOSS: what there is cannot be gone on from, and the message says why (damaged, gone, or of another number of
// ps): the run must go back. FAILED_PRECONDITION: it is not this shard's. UNAVAILABLE: another process has this shard's
// files. Else the file system's errors. After an error `shard` must not be used.
absl::StatusOr<ShardFiles> RecoverShard(const RecoverOptions& recover, const Shard::Options& options, FileSystem* files,
                                        Clock* clock, Executor* executor, Shard* shard);

}  // namespace leeway
