// JournalReader: the records of a shard's journal, from all the files of its newest era, in order.
//
// Thread safety: none. Ownership: `files` outlives it; payloads that were read keep their file's bytes alive.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/record_log.h"
#include "common/rpc.h"
#include "proto/journal.pb.h"

namespace leeway {

// Of the newest file that has one; a default header: there is none, or no such directory. DATA_LOSS,
// FAILED_PRECONDITION (another format): see JournalReader::Next.
absl::StatusOr<v1::JournalHeader> NewestJournalHeader(FileSystem& files, const std::string& directory);

class JournalReader {
 public:
  // Of shard `shard_index` of `num_shards`, from the record behind number `after` on; files of another era than the
  // newest are passed over. A directory that is not there is an empty journal. NewestJournalHeader's errors.
  static absl::StatusOr<JournalReader> Open(FileSystem& files, const std::string& directory, std::uint32_t shard_index,
                                            std::uint32_t num_shards, std::uint64_t after);

  // The next record and its payload; nothing at the end. DATA_LOSS, with the file's name: damage that neither a killed
  // process leaves nor power that fails within a write, or a record that is missing; FAILED_PRECONDITION: another
  // shard's file.
  absl::StatusOr<std::optional<Decoded<v1::JournalRecord>>> Next();

  std::uint64_t last_sequence() const { return last_sequence_; }    // that Next gave; at first `after`
  std::uint64_t first_sequence() const { return first_sequence_; }  // of the oldest file that is there; 0: none is
  std::uint64_t next_file() const { return next_file_; }            // above the numbers of all files
  // Every file there is, for who begins a new era: none of them is needed.
  std::map<std::uint64_t, std::uint64_t> all_as_earlier() const;
  // The files that were read: number, and sequence of the first record; 0: it is of an earlier era.
  const std::map<std::uint64_t, std::uint64_t>& files() const { return first_in_file_; }
  std::uint64_t torn() const { return torn_; }  // files that ended within a write

 private:
  JournalReader(FileSystem* files, std::string directory) : files_(files), directory_(std::move(directory)) {}
  absl::Status CheckHeader(const v1::JournalHeader& header) const;
  absl::Status Missing(std::uint64_t next) const;
  absl::Status CheckUnwritten(const absl::Status& damage);

  FileSystem* files_;
  std::string directory_;
  std::uint32_t shard_index_ = 0;
  std::uint32_t num_shards_ = 0;
  std::uint64_t last_sequence_ = 0;
  std::uint64_t first_sequence_ = 0;
  std::uint64_t next_file_ = 1;
  std::uint64_t torn_ = 0;
  std::deque<std::uint64_t> numbers_;  // of the files that are not open yet
  std::map<std::uint64_t, std::uint64_t> first_in_file_;
  std::uint64_t number_ = 0;  // of the open file
  std::string path_;
  std::uint64_t read_ = 0;  // the last record of the open file, or the one before its first
  std::optional<RecordReader> reader_;
  std::string passed_over_;  // the last damage that was no error by itself, for messages
};

}  // namespace leeway
