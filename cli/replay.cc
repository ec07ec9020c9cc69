#include "cli/replay.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/end_process.h"
#include "common/executor.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/checkpoint/shard_state.h"
#include "server/journal_reader.h"
#include "server/recover_shard.h"
#include "server/shard.h"
#include "worker/trainer/weights_file.h"

ABSL_FLAG(std::string, replay_until, "", "SHARD:RECORD: stop that shard behind this record of its journal");
ABSL_FLAG(std::string, replay_from, "",
          "begin at this checkpoint (step-00001234); empty: at the first record, or at the oldest checkpoint behind "
          "which there are all records");
ABSL_FLAG(std::string, replay_weights, "", "write the weights to this safetensors file");
ABSL_FLAG(bool, replay_list, false, "print a line for each record");

namespace leeway {
namespace {

struct Until {
  std::uint32_t shard = 0;
  std::uint64_t record = 0;
};

absl::StatusOr<std::optional<Until>> UntilFromFlag() {
  const std::string text = absl::GetFlag(FLAGS_replay_until);
  if (text.empty()) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  Until until;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &until.shard) || !absl::SimpleAtoi(parts[1], &until.record)) {
    return FlagError("replay_until", text, "SHARD:RECORD, as 0:1234");
  }
  return until;
}

// What a journal holds, counted.
struct Counts {
  std::uint64_t records = 0, snapshots = 0, applied = 0, held = 0, refused = 0, null = 0;
};

void Count(const v1::JournalRecord& record, Counts* counts) {
  ++counts->records;
  counts->snapshots += record.has_snapshot() ? 1 : 0;
  counts->null += record.has_null_push() ? 1 : 0;
  if (!record.has_chunk()) return;
  counts->applied += record.chunk().verdict() == v1::APPLIED ? 1 : 0;
  counts->held += record.chunk().verdict() == v1::HELD ? 1 : 0;
  counts->refused += record.chunk().verdict() == v1::REFUSED ? 1 : 0;
}

void PrintRecord(std::uint32_t shard, const v1::JournalRecord& record) {
  std::string what;
  if (record.has_snapshot()) {
    what = absl::StrCat("snapshot ", record.snapshot().sequence(), ", membership epoch ",
                        record.snapshot().membership_epoch(), ", ", record.snapshot().members_size(), " members");
  } else if (record.has_chunk() || record.has_null_push()) {
    const v1::PushRequest& push = record.has_chunk() ? record.chunk().push() : record.null_push();
    what = absl::StrCat(record.has_chunk() ? v1::Verdict_Name(record.chunk().verdict()) : "null push", " worker ",
                        push.stamp().worker_id(), " incarnation ", absl::Hex(push.stamp().incarnation()), " step ",
                        push.clock(), " chunk ", push.chunk(), " of ", push.chunk_count());
    if (record.has_chunk()) absl::StrAppend(&what, ", ", push.samples(), " samples, rate ", record.chunk().rate());
    if (record.chunk().corrected()) absl::StrAppend(&what, ", corrected");
  } else {
    what = absl::StrCat("initial weights of ", record.weights().run().num_blocks(), " blocks");
  }
  absl::PrintF("%d:%d %s\n", shard, record.sequence(), what);
}

// Replays one shard's journal behind record `after`. `manifest`: the model, once it has been met.
absl::Status ReplayShard(const std::string& directory, std::uint32_t index, std::uint32_t num_shards,
                         std::uint64_t after, const std::optional<Until>& until, Shard* shard,
                         std::optional<v1::Manifest>* manifest) {
  if (until && until->shard == index && until->record < after) {
    return absl::FailedPreconditionError(absl::StrCat("--replay_until=", index, ":", until->record,
                                                      ": the checkpoint is ", "of record ", after,
                                                      "; an earlier one is needed"));
  }
  ASSIGN_OR_RETURN(JournalReader reader, JournalReader::Open(RealFileSystem(), directory, index, num_shards, after));
  Counts counts;
  for (;;) {
    if (until && until->shard == index && reader.last_sequence() >= until->record) break;
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record) break;
    if (absl::Status status = shard->Replay(record->message, record->payload); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat(directory, ", record ", reader.last_sequence(), ": ",
                                                      std::string(status.message())));
    }
    if (record->message.snapshot().manifest().tensors_size() > 0) *manifest = record->message.snapshot().manifest();
    if (absl::GetFlag(FLAGS_replay_list)) PrintRecord(index, record->message);
    Count(record->message, &counts);
  }
  if (until && until->shard == index && reader.last_sequence() < until->record) {
    return absl::OutOfRangeError(absl::StrCat("--replay_until=", index, ":", until->record, ": the journal in ",
                                              directory, " ends at record ", reader.last_sequence()));
  }
  const v1::ShardStats stats = shard->Describe().stats();
  absl::PrintF("%5d  %7d  %9d  %14d  %11d  %14d  %10d  %7d%s\n", index, counts.records, counts.snapshots,
               counts.applied, counts.held, counts.refused, counts.null, stats.version(),
               reader.torn() > 0 ? absl::StrCat("  (", reader.torn(), " files end within a record)") : "");
  return absl::OkStatus();
}

// Where the replay begins: a checkpoint's directory, or "" for the first record.
absl::StatusOr<std::string> FindStart(const std::string& checkpoint_dir, const Era& era, std::uint32_t num_shards) {
  FileSystem& files = RealFileSystem();
  if (const std::string from = absl::GetFlag(FLAGS_replay_from); !from.empty()) {
    if (StepOfDirectoryName(from)) return absl::StrCat(checkpoint_dir, "/", from);
    return FlagError("replay_from", from, "the name of a checkpoint, as step-00001234");
  }
  std::vector<std::uint64_t> begins;  // of each shard's journal
  for (std::uint32_t index = 0; index < num_shards; ++index) {
    const std::string directory = JournalDirectory(checkpoint_dir, index);
    ASSIGN_OR_RETURN(const JournalReader reader, JournalReader::Open(files, directory, index, num_shards, 0));
    if (reader.first_sequence() == 0) return absl::NotFoundError(absl::StrCat(directory, " holds no journal"));
    begins.push_back(reader.first_sequence());
  }
  if (std::all_of(begins.begin(), begins.end(), [](std::uint64_t first) { return first == 1; })) {
    // (The one that the run went back to may be gone since: newer ones have pushed it out.)
    const std::string base = era.base.empty() ? "" : absl::StrCat(checkpoint_dir, "/", era.base);
    if (base.empty() || ReadCheckpointIndex(files, base).ok()) return base;
  }
  ASSIGN_OR_RETURN(std::vector<CheckpointEntry> entries,
                   ListCheckpoints(files, checkpoint_dir, CheckpointCheck::kIndex));
  std::reverse(entries.begin(), entries.end());
  for (const CheckpointEntry& entry : entries) {
    if (!entry.status.ok() || entry.num_shards != num_shards || entry.era != era.number) continue;
    ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpointIndex(files, entry.path));
    bool all = true;
    for (std::uint32_t index = 0; index < num_shards; ++index) {
      const absl::StatusOr<v1::ShardState> state = ReadShardState(files, entry.path, checkpoint.index, index);
      all = all && state.ok() && begins[index] <= state->journal_sequence() + 1;
    }
    if (all) return entry.path;
  }
  return absl::NotFoundError(absl::StrCat(checkpoint_dir, ": the journals do not begin where the run did, and no good ",
                                          "checkpoint has all the records behind it"));
}

absl::Status Replay(const std::string& checkpoint_dir) {
  ASSIGN_OR_RETURN(const std::optional<Until> until, UntilFromFlag());
  const std::string first_journal = JournalDirectory(checkpoint_dir, 0);
  ASSIGN_OR_RETURN(const v1::JournalHeader header, NewestJournalHeader(RealFileSystem(), first_journal));
  if (header.num_shards() == 0) return absl::NotFoundError(absl::StrCat(first_journal, " holds no journal"));
  const std::uint32_t num_shards = header.num_shards();
  if (until && until->shard >= num_shards) {
    return FlagError("replay_until", absl::StrCat(until->shard, ":", until->record),
                     absl::StrCat("shards 0 to ", num_shards - 1));
  }
  const Era era{header.era(), header.base_checkpoint()};
  ASSIGN_OR_RETURN(const std::string start, FindStart(checkpoint_dir, era, num_shards));
  if (!start.empty()) absl::PrintF("from  %s\n", start);
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  const std::unique_ptr<Executor> executor = MakeThreadPool(1);
  std::optional<v1::Manifest> proto;
  std::vector<std::unique_ptr<Shard>> shards;
  absl::PrintF("shard  records  snapshots  chunks applied  held chunks  refused chunks  null pushes  version\n");
  for (std::uint32_t index = 0; index < num_shards; ++index) {
    Shard::Options options;
    options.index = index;
    options.num_shards = num_shards;
    shards.push_back(std::make_unique<Shard>(options, clock.get(), executor.get()));
    std::uint64_t after = 0;
    if (!start.empty()) {
      ASSIGN_OR_RETURN(after, RestoreCheckpoint(start, era, options, &RealFileSystem(), shards.back().get()));
      ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpointIndex(RealFileSystem(), start));
      proto = checkpoint.index.manifest();
    }
    RETURN_IF_ERROR(ReplayShard(JournalDirectory(checkpoint_dir, index), index, num_shards, after, until,
                                shards.back().get(), &proto));
  }
  if (!proto) return absl::NotFoundError(absl::StrCat(checkpoint_dir, ": no worker had brought a model"));
  ASSIGN_OR_RETURN(const Manifest manifest, Manifest::FromProto(*proto));
  std::vector<float> weights(manifest.elements());
  for (std::uint32_t index = 0; index < num_shards; ++index) {
    const std::shared_ptr<BlockStore> store = shards[index]->store();
    if (store == nullptr) {
      return absl::NotFoundError(absl::StrCat("the journal of ps ", index, " ends before its weights were there"));
    }
    const Placement& placement = store->placement();
    for (std::uint64_t block = index; block < placement.num_blocks(); block += num_shards) {
      store->ReadBlock({block, 1}, 0, weights.data() + placement.BlockBegin(block));
    }
  }
  absl::PrintF("weights  crc32c %08x\n", Crc32c(weights.data(), weights.size() * sizeof(float)));
  const std::string path = absl::GetFlag(FLAGS_replay_weights);
  if (path.empty()) return absl::OkStatus();
  return SaveWeights(RealFileSystem(), path, manifest, weights.data());
}

}  // namespace

int RunReplay(const std::vector<std::string>& words, int, char**) {
  if (words.size() != 1) {
    ExitWithError(absl::InvalidArgumentError(
        "usage: leeway replay CHECKPOINT_DIR [--replay_from=step-00001234] [--replay_until=SHARD:RECORD]"));
  }
  if (absl::Status status = Replay(words[0]); !status.ok()) ExitWithError(status);
  return 0;
}

}  // namespace leeway
