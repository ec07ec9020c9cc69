#include "server/journal_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/journal.h"

namespace leeway {
namespace {

// The number in a journal file's name; nothing: it is another file.
std::optional<std::uint64_t> NumberOf(const std::string& name) {
  std::uint64_t number = 0;
  if (!absl::SimpleAtoi(name.substr(0, name.find('.')), &number) || name != JournalFileName(number)) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

absl::StatusOr<JournalReader> JournalReader::Open(FileSystem& files, const std::string& directory,
                                                  std::uint32_t shard_index, std::uint32_t num_shards,
                                                  std::uint64_t after) {
  JournalReader reader(&files, directory);
  reader.shard_index_ = shard_index;
  reader.num_shards_ = num_shards;
  reader.last_sequence_ = after;
  if (!files.Exists(directory)) return reader;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : names) {
    if (const std::optional<std::uint64_t> number = NumberOf(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  reader.numbers_.assign(numbers.begin(), numbers.end());
  if (!numbers.empty()) reader.next_file_ = numbers.back() + 1;
  return reader;
}

absl::Status JournalReader::CheckHeader(const v1::JournalHeader& header) const {
  if (header.format() != kJournalFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": journal format ", header.format(), "; this version reads ", kJournalFormat));
  }
  if (header.shard_index() != shard_index_ || header.num_shards() != num_shards_) {
    return absl::FailedPreconditionError(absl::StrCat(path_, " is the journal of ps ", header.shard_index(), " of ",
                                                      header.num_shards(), "; this is ps ", shard_index_, " of ",
                                                      num_shards_));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Decoded<v1::JournalRecord>>> JournalReader::Next() {
  for (;;) {
    bool first = false;
    if (!reader_) {
      if (numbers_.empty()) return std::nullopt;
      number_ = numbers_.front();
      path_ = absl::StrCat(directory_, "/", JournalFileName(number_));
      numbers_.pop_front();
      ASSIGN_OR_RETURN(reader_, RecordReader::Open(*files_, path_));
      first = true;
    }
    ASSIGN_OR_RETURN(const std::optional<Buffer> body, reader_->Next());
    if (!body) {
      torn_ += reader_->torn() ? 1 : 0;
      reader_.reset();
      continue;
    }
    Decoded<v1::JournalRecord> record;
    if (absl::Status status = DecodeMessage(*body, &record.message, &record.payload); !status.ok()) {
      return absl::DataLossError(
          absl::StrCat(path_, ", behind record ", last_sequence_, ": ", std::string(status.message())));
    }
    if (first || record.message.has_header()) {
      RETURN_IF_ERROR(CheckHeader(record.message.header()));
      first_in_file_[number_] = record.message.header().first_sequence();
      continue;
    }
    // What a file that failed had taken stands in the next one again.
    const std::uint64_t sequence = record.message.sequence();
    if (sequence <= last_sequence_) continue;
    if (sequence != last_sequence_ + 1) {
      return absl::DataLossError(absl::StrCat(path_, ": record ", sequence, " follows record ", last_sequence_,
                                              "; what was between them is missing"));
    }
    last_sequence_ = sequence;
    return record;
  }
}

}  // namespace leeway
