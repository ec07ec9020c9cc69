#include "server/recover_shard.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/machine.h"
#include "common/manifest.h"
#include "common/placement.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/journal_reader.h"

namespace leeway {

std::string JournalDirectory(const std::string& checkpoint_dir, std::uint32_t shard_index) {
  return absl::StrFormat("%s/journal/shard-%05d", checkpoint_dir, shard_index);
}

namespace {

absl::Status OfOtherCluster(const std::string& what, std::uint32_t num_shards, const Shard::Options& options) {
  return absl::DataLossError(
      absl::StrCat(what, " is of ", num_shards, " ps, and this cluster has ", options.num_shards));
}

// Weights, slots and steps, into the store of `shard`.
absl::Status ReadTensors(CheckpointReader& reader, const Shard::Options& options, Shard* shard) {
  const std::shared_ptr<BlockStore> store = shard->store();
  const Checkpoint& checkpoint = reader.checkpoint();
  if (store->num_slots() != checkpoint.index.slots()) {
    return absl::FailedPreconditionError(absl::StrCat(reader.directory(), " has ", checkpoint.index.slots(),
                                                      " optimizer slots, this cluster's optimizer ",
                                                      store->num_slots()));
  }
  const auto blocks = static_cast<std::uint32_t>(store->num_blocks());
  if (blocks == 0) return absl::OkStatus();
  const ChunkRun all{options.index, blocks};
  RETURN_IF_ERROR(reader.ReadRun(0, store->placement(), all, store->Weights(all)));
  for (std::uint32_t slot = 0; slot < store->num_slots(); ++slot) {
    RETURN_IF_ERROR(reader.ReadRun(1 + slot, store->placement(), all, store->Slot(slot, all)));
  }
  std::vector<std::uint64_t> steps(blocks);
  RETURN_IF_ERROR(reader.ReadSteps(store->placement(), all, steps.data()));
  for (std::uint32_t local = 0; local < blocks; ++local) store->SetSteps(local, steps[local]);
  return absl::OkStatus();
}

// Makes `shard` what it was when the checkpoint was cut. Returns its place in the journal.
absl::StatusOr<std::uint64_t> Restore(CheckpointReader& reader, const Shard::Options& options, Shard* shard) {
  const v1::CheckpointIndex& index = reader.checkpoint().index;
  if (index.num_shards() != options.num_shards) return OfOtherCluster(reader.directory(), index.num_shards(), options);
  ASSIGN_OR_RETURN(const v1::ShardState state, reader.ReadState(options.index));
  RETURN_IF_ERROR(shard->RestoreState(state, index.manifest()));
  RETURN_IF_ERROR(ReadTensors(reader, options, shard));
  return state.journal_sequence();
}

// Makes `shard` one that goes on from the checkpoint in a new era: nobody is a member, nothing is under way, and every
// ticket that was given counts as used. What a shard's state says beside its members is the same on all shards.
absl::Status RestoreBase(CheckpointReader& reader, const Shard::Options& options, Shard* shard) {
  const v1::CheckpointIndex& index = reader.checkpoint().index;
  ASSIGN_OR_RETURN(v1::ShardState state, reader.ReadState(options.index % index.num_shards()));
  ASSIGN_OR_RETURN(const Placement placement,
                   Placement::Make(reader.checkpoint().manifest.elements(), options.num_shards));
  state.mutable_snapshot()->set_block_elements(placement.block_elements());
  // A coordinator that has nothing but this checkpoint counts its decisions on from its own part of it, which is older
  // than the shards' cuts.
  state.mutable_snapshot()->clear_sequence();
  state.clear_members();
  state.clear_departed();
  state.clear_stats();
  state.set_ticket_watermark(index.coordinator_state().tickets().last_serial());
  state.clear_settled_tickets();
  RETURN_IF_ERROR(shard->RestoreState(state, index.manifest()));
  return ReadTensors(reader, options, shard);
}

}  // namespace

absl::StatusOr<std::uint64_t> RestoreCheckpoint(const std::string& path, const Era& era, const Shard::Options& options,
                                                FileSystem* files, Shard* shard) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointReader> reader, CheckpointReader::Open(*files, path));
  const v1::CheckpointIndex& index = reader->checkpoint().index;
  if (index.era() == era.number) return Restore(*reader, options, shard);
  if (StepDirectoryName(index.step()) != era.base) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is of era ", index.era(), ", the journal of era ",
                                                      era.number, ", which began with '", era.base, "'"));
  }
  RETURN_IF_ERROR(RestoreBase(*reader, options, shard));
  return 0;
}

namespace {

struct Restored {
  std::string path;         // "": nothing was
  std::uint64_t after = 0;  // its place in the journal
};

absl::StatusOr<Restored> GoBack(const CheckpointPlace& from, const Era& to, const Shard::Options& options,
                                Shard* shard) {
  Restored restored{absl::StrCat(from.directory, "/", to.base), 0};
  const absl::Status status = RestoreCheckpoint(restored.path, to, options, from.files, shard).status();
  if (absl::IsNotFound(status)) return absl::DataLossError(status.message());
  RETURN_IF_ERROR(status);
  return restored;
}

// One look at the checkpoints that there are, newest first.
struct Look {
  std::optional<Restored> restored;
  std::vector<std::string> missing;  // were not there, or not committed, when they were to be read
  absl::Status damage;               // of the newest that is damaged
};

absl::StatusOr<Look> LookForNewest(const CheckpointPlace& from, const Era& era, const Shard::Options& options,
                                   Shard* shard) {
  ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> all,
                   ListCheckpoints(*from.files, from.directory, CheckpointCheck::kIndex));
  Look look;
  for (const CheckpointEntry& entry : all) {
    absl::Status status = entry.status;
    if (status.ok()) {
      if (entry.era != era.number) continue;
      const absl::StatusOr<std::uint64_t> after = RestoreCheckpoint(entry.path, era, options, from.files, shard);
      if (after.ok()) {
        look.restored = {entry.path, *after};
        return look;
      }
      status = after.status();
    }
    if (absl::IsNotFound(status)) {
      look.missing.push_back(entry.path);
      continue;
    }
    if (!absl::IsDataLoss(status)) return status;
    spdlog::error("shard {}: the checkpoint before is tried, for {}", options.index, std::string(status.message()));
    look.damage.Update(status);
  }
  return look;
}

// The newest good one of this era; without one, what the era began with.
absl::StatusOr<Restored> RestoreNewest(const CheckpointPlace& from, const Era& era, const Shard::Options& options,
                                       Shard* shard) {
  ASSIGN_OR_RETURN(Look look, LookForNewest(from, era, options, shard));
  // What is missing was being written when everything ended, and will never be there; or shard 0 has just removed it,
  // for a newer one that this shard's process of before had part in: then that one is there by now.
  for (std::vector<std::string> before; !look.restored && look.missing != before;) {
    before = std::move(look.missing);
    ASSIGN_OR_RETURN(look, LookForNewest(from, era, options, shard));
  }
  if (look.restored) return *std::move(look.restored);
  if (!era.base.empty()) return GoBack(from, era, options, shard);
  // Without any the journal begins at the beginning; with bad ones only, what it begins with is lost.
  RETURN_IF_ERROR(look.damage);
  return Restored{};
}

absl::Status ReplayAll(JournalReader& reader, const std::string& directory, Shard* shard, ShardFiles* opened,
                       std::uint64_t* bytes) {
  for (;;) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record) return absl::OkStatus();
    if (absl::Status status = shard->Replay(record->message, record->payload); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat(directory, ", record ", reader.last_sequence(), ": ",
                                                      std::string(status.message())));
    }
    ++opened->replayed;
    *bytes += record->payload.size();
  }
}

}  // namespace

absl::StatusOr<ShardFiles> RecoverShard(const RecoverOptions& recover, const Shard::Options& options, FileSystem* files,
                                        Clock* clock, Executor* executor, Shard* shard) {
  const Instant begin = clock->Now();
  const auto millis = [&] { return absl::ToInt64Milliseconds(clock->Now() - begin); };
  const std::string directory = JournalDirectory(recover.checkpoint_dir, options.index);
  ShardFiles opened;
  v1::JournalHeader newest;
  if (recover.journal) {
    RETURN_IF_ERROR(MakeDurableDirectories(*files, directory));
    ASSIGN_OR_RETURN(opened.lock, files->Lock(directory + "/lock"));
    ASSIGN_OR_RETURN(newest, NewestJournalHeader(*files, directory));
  }
  opened.era = recover.go_back.value_or(Era{newest.era(), newest.base_checkpoint()});
  Restored restored;
  CheckpointPlace from = recover.checkpoints;
  if (from.files == nullptr) from = {files, recover.checkpoint_dir};
  if (recover.go_back) {
    ASSIGN_OR_RETURN(restored, GoBack(from, *recover.go_back, options, shard));
  } else if (recover.journal) {
    if (newest.num_shards() != 0 && newest.num_shards() != options.num_shards) {
      return OfOtherCluster(directory, newest.num_shards(), options);
    }
    ASSIGN_OR_RETURN(restored, RestoreNewest(from, opened.era, options, shard));
    // (A journal's file is there before its first record is.)
    if (restored.after > 0 && newest.num_shards() == 0) {
      return absl::DataLossError(
          absl::StrCat(directory, " has no journal, and ", restored.path, " was taken at its record ", restored.after));
    }
  }
  opened.checkpoint = restored.path;
  if (!opened.checkpoint.empty()) {
    spdlog::info("shard {}: restored from {} in {} ms", options.index, opened.checkpoint, millis());
  }
  if (!recover.journal) return opened;

  ASSIGN_OR_RETURN(JournalReader reader,
                   JournalReader::Open(*files, directory, options.index, options.num_shards, restored.after));
  Journal::Options journal;
  std::uint64_t bytes = 0;
  if (recover.go_back) {
    journal.old_files = reader.all_as_earlier();
  } else {
    RETURN_IF_ERROR(ReplayAll(reader, directory, shard, &opened, &bytes));
    if (opened.replayed > 0) {
      spdlog::info("shard {}: {} records ({} of gradients) replayed from {} in {} ms{}", options.index, opened.replayed,
                   FormatBytes(bytes), directory, millis(),
                   reader.torn() == 0 ? "" : absl::StrCat("; ", reader.torn(), " files ended within a record"));
    }
    journal.old_files = reader.files();
  }
  journal.directory = directory;
  journal.fsync = recover.fsync;
  journal.header.set_shard_index(options.index);
  journal.header.set_num_shards(options.num_shards);
  journal.header.set_generation(options.generation);
  journal.header.set_era(opened.era.number);
  journal.header.set_base_checkpoint(opened.era.base);
  journal.next_sequence = reader.last_sequence() + 1;
  journal.next_file = reader.next_file();
  ASSIGN_OR_RETURN(opened.journal, Journal::Open(journal, files, clock, executor));
  shard->UseJournal(opened.journal.get(), bytes);
  return opened;
}

}  // namespace leeway
