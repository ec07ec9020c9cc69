#include "server/recover_shard.h"

#include <spdlog/spdlog.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/machine.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/journal_reader.h"

namespace leeway {

std::string JournalDirectory(const std::string& checkpoint_dir, std::uint32_t shard_index) {
  return absl::StrFormat("%s/journal/shard-%05d", checkpoint_dir, shard_index);
}

absl::StatusOr<std::uint64_t> RestoreCheckpoint(const std::string& path, const Shard::Options& options,
                                                FileSystem* files, Shard* shard) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointReader> reader, CheckpointReader::Open(*files, path));
  const Checkpoint& checkpoint = reader->checkpoint();
  if (checkpoint.index.num_shards() != options.num_shards) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is of ", checkpoint.index.num_shards(),
                                                      " ps, and this cluster has ", options.num_shards,
                                                      "; leeway checkpoint reshard makes one that fits"));
  }
  ASSIGN_OR_RETURN(const v1::ShardState state, reader->ReadState(options.index));
  RETURN_IF_ERROR(shard->RestoreState(state, checkpoint.index.manifest()));
  const std::shared_ptr<BlockStore> store = shard->store();
  if (store->num_slots() != checkpoint.index.slots()) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " has ", checkpoint.index.slots(), " optimizer slots, this cluster's optimizer ", store->num_slots()));
  }
  const auto blocks = static_cast<std::uint32_t>(store->num_blocks());
  if (blocks == 0) return state.journal_sequence();
  const ChunkRun all{options.index, blocks};
  RETURN_IF_ERROR(reader->ReadRun(0, store->placement(), all, store->Weights(all)));
  for (std::uint32_t slot = 0; slot < store->num_slots(); ++slot) {
    RETURN_IF_ERROR(reader->ReadRun(1 + slot, store->placement(), all, store->Slot(slot, all)));
  }
  std::vector<std::uint64_t> steps(blocks);
  RETURN_IF_ERROR(reader->ReadSteps(store->placement(), all, steps.data()));
  for (std::uint32_t local = 0; local < blocks; ++local) store->SetSteps(local, steps[local]);
  return state.journal_sequence();
}

namespace {

// The newest good one. Fills in `path`; 0 and "" without one.
absl::StatusOr<std::uint64_t> RestoreNewest(const std::string& checkpoint_dir, const Shard::Options& options,
                                            FileSystem* files, Shard* shard, std::string* path) {
  ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> all,
                   ListCheckpoints(*files, checkpoint_dir, CheckpointCheck::kIndex));
  absl::Status damage;
  for (const CheckpointEntry& entry : all) {
    const absl::StatusOr<std::uint64_t> sequence = entry.status.ok()
                                                       ? RestoreCheckpoint(entry.path, options, files, shard)
                                                       : absl::StatusOr<std::uint64_t>(entry.status);
    if (sequence.ok()) {
      *path = entry.path;
      return sequence;
    }
    // Not committed: it was being written when everything ended.
    if (absl::IsNotFound(sequence.status())) continue;
    if (!absl::IsDataLoss(sequence.status())) return sequence.status();
    spdlog::error("shard {}: the checkpoint before is tried, for {}", options.index,
                  std::string(sequence.status().message()));
    damage.Update(sequence.status());
  }
  // Without any the journal begins at the beginning; with bad ones only, what it begins with is lost.
  if (!damage.ok()) return damage;
  return 0;
}

}  // namespace

absl::StatusOr<ShardFiles> RecoverShard(const std::string& checkpoint_dir, bool fsync, const Shard::Options& options,
                                        FileSystem* files, Clock* clock, Executor* executor, Shard* shard) {
  const std::string directory = JournalDirectory(checkpoint_dir, options.index);
  RETURN_IF_ERROR(files->MakeDirectories(directory));
  ShardFiles opened;
  ASSIGN_OR_RETURN(opened.lock, files->Lock(directory + "/lock"));

  const Instant begin = clock->Now();
  std::uint64_t bytes = 0;
  ASSIGN_OR_RETURN(const std::uint64_t after, RestoreNewest(checkpoint_dir, options, files, shard, &opened.checkpoint));
  if (!opened.checkpoint.empty()) {
    spdlog::info("shard {}: restored from {} in {} ms", options.index, opened.checkpoint,
                 absl::ToInt64Milliseconds(clock->Now() - begin));
  }
  ASSIGN_OR_RETURN(JournalReader reader,
                   JournalReader::Open(*files, directory, options.index, options.num_shards, after));
  for (;;) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record) break;
    if (absl::Status status = shard->Replay(record->message, record->payload); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat(directory, ", record ", reader.last_sequence(), ": ",
                                                      std::string(status.message())));
    }
    ++opened.replayed;
    bytes += record->payload.size();
  }
  if (opened.replayed > 0) {
    spdlog::info("shard {}: {} records ({} of gradients) replayed from {} in {} ms{}", options.index, opened.replayed,
                 FormatBytes(bytes), directory, absl::ToInt64Milliseconds(clock->Now() - begin),
                 reader.torn() == 0 ? "" : absl::StrCat("; ", reader.torn(), " files ended within a record"));
  }
  Journal::Options journal;
  journal.directory = directory;
  journal.fsync = fsync;
  journal.header.set_shard_index(options.index);
  journal.header.set_num_shards(options.num_shards);
  journal.header.set_generation(options.generation);
  journal.next_sequence = reader.last_sequence() + 1;
  journal.next_file = reader.next_file();
  journal.old_files = reader.files();
  ASSIGN_OR_RETURN(opened.journal, Journal::Open(journal, files, clock, executor));
  shard->UseJournal(opened.journal.get(), bytes);
  return opened;
}

}  // namespace leeway
