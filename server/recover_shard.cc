#include "server/recover_shard.h"

#include <spdlog/spdlog.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/machine.h"
#include "common/status_macros.h"
#include "server/journal_reader.h"

namespace leeway {

std::string JournalDirectory(const std::string& checkpoint_dir, std::uint32_t shard_index) {
  return absl::StrFormat("%s/journal/shard-%05d", checkpoint_dir, shard_index);
}

absl::StatusOr<ShardFiles> RecoverShard(const std::string& checkpoint_dir, bool fsync, const Shard::Options& options,
                                        FileSystem* files, Clock* clock, Executor* executor, Shard* shard) {
  const std::string directory = JournalDirectory(checkpoint_dir, options.index);
  RETURN_IF_ERROR(files->MakeDirectories(directory));
  ShardFiles opened;
  ASSIGN_OR_RETURN(opened.lock, files->Lock(directory + "/lock"));

  const Instant begin = clock->Now();
  std::uint64_t bytes = 0;
  ASSIGN_OR_RETURN(JournalReader reader,
                   JournalReader::Open(*files, directory, options.index, options.num_shards, /*after=*/0));
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
  ASSIGN_OR_RETURN(opened.journal, Journal::Open(journal, files, clock, executor));
  shard->UseJournal(opened.journal.get());
  return opened;
}

}  // namespace leeway
