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

// Ascending.
absl::StatusOr<std::vector<std::uint64_t>> FileNumbers(FileSystem& files, const std::string& directory) {
  std::vector<std::uint64_t> numbers;
  if (!files.Exists(directory)) return numbers;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  for (const std::string& name : names) {
    if (const std::optional<std::uint64_t> number = NumberOf(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

absl::Status NoRecord(const std::string& path, std::uint64_t behind, const absl::Status& status) {
  return absl::DataLossError(absl::StrCat(path, ", behind record ", behind, ": ", std::string(status.message())));
}

// Nothing: the file ends before its header does, as it was just being begun.
absl::StatusOr<std::optional<v1::JournalHeader>> HeaderOf(FileSystem& files, const std::string& path) {
  constexpr std::uint64_t kEnough = 4096;
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file, files.Open(path));
  std::string bytes(std::min(file->Size(), kEnough), 0);
  RETURN_IF_ERROR(file->ReadAt(0, bytes.size(), bytes.data()));
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Parse(path, std::move(bytes)));
  if (reader.torn()) return std::nullopt;
  ASSIGN_OR_RETURN(const std::optional<Buffer> body, reader.Next());
  if (!body) return std::nullopt;
  v1::JournalRecord record;
  if (absl::Status status = DecodeMessage(*body, &record); !status.ok()) return NoRecord(path, 0, status);
  if (record.header().format() == kJournalFormat) return record.header();
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": journal format ", record.header().format(), "; this version reads ", kJournalFormat));
}

}  // namespace

absl::StatusOr<v1::JournalHeader> NewestJournalHeader(FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(const std::vector<std::uint64_t> numbers, FileNumbers(files, directory));
  for (auto number = numbers.rbegin(); number != numbers.rend(); ++number) {
    ASSIGN_OR_RETURN(std::optional<v1::JournalHeader> header,
                     HeaderOf(files, absl::StrCat(directory, "/", JournalFileName(*number))));
    if (header) return *std::move(header);
  }
  return v1::JournalHeader();
}

absl::StatusOr<JournalReader> JournalReader::Open(FileSystem& files, const std::string& directory,
                                                  std::uint32_t shard_index, std::uint32_t num_shards,
                                                  std::uint64_t after) {
  JournalReader reader(&files, directory);
  reader.shard_index_ = shard_index;
  reader.num_shards_ = num_shards;
  reader.last_sequence_ = after;
  ASSIGN_OR_RETURN(const v1::JournalHeader newest, NewestJournalHeader(files, directory));
  ASSIGN_OR_RETURN(const std::vector<std::uint64_t> numbers, FileNumbers(files, directory));
  if (!numbers.empty()) reader.next_file_ = numbers.back() + 1;
  auto number = numbers.rbegin();
  for (bool begun = false; number != numbers.rend() && !begun; ++number) {
    const absl::StatusOr<std::optional<v1::JournalHeader>> header =
        HeaderOf(files, absl::StrCat(directory, "/", JournalFileName(*number)));
    const bool whole = header.ok() && *header;
    if (whole && (*header)->era() != newest.era()) break;
    // One that cannot be read may be of this era: then Next says what is wrong with it.
    reader.numbers_.push_front(*number);
    if (whole) reader.first_sequence_ = (*header)->first_sequence();
    begun = whole && (*header)->first_sequence() == 1;
  }
  for (; number != numbers.rend(); ++number) reader.first_in_file_[*number] = 0;
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

std::map<std::uint64_t, std::uint64_t> JournalReader::all_as_earlier() const {
  std::map<std::uint64_t, std::uint64_t> all;
  for (const auto& [number, first] : first_in_file_) all[number] = 0;
  for (const std::uint64_t number : numbers_) all[number] = 0;
  return all;
}

absl::Status JournalReader::Missing(std::uint64_t next) const {
  return absl::DataLossError(absl::StrCat(path_, ": record ", next, " follows record ", last_sequence_,
                                          "; what was between them is missing", passed_over_));
}

// OK: `damage` may be in what was never called written, as power failed, or a sync did; the rest of the file is passed
// over. A record behind it says which were written; one of an earlier version does not, and the damage stands.
absl::Status JournalReader::CheckUnwritten(const absl::Status& damage) {
  while (reader_->SkipDamage()) {
    const absl::StatusOr<std::optional<Buffer>> body = reader_->Next();
    v1::JournalRecord record;
    if (!body.ok() || !*body || !DecodeMessage(**body, &record, kMaxRecordBytes).ok()) return damage;
    if (record.has_header()) continue;
    if (!record.has_written() || record.written() > read_) return damage;
  }
  passed_over_ = absl::StrCat("; ", damage.message());
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
      first_in_file_[number_] = read_ + 1;  // until its header says it, if there is one
      first = true;
    }
    absl::StatusOr<std::optional<Buffer>> body = reader_->Next();
    if (absl::IsDataLoss(body.status())) {
      RETURN_IF_ERROR(CheckUnwritten(body.status()));
      body = std::nullopt;
    }
    RETURN_IF_ERROR(body.status());
    if (!*body) {
      torn_ += reader_->torn() ? 1 : 0;
      reader_.reset();
      continue;
    }
    Decoded<v1::JournalRecord> record;
    if (absl::Status status = DecodeMessage(**body, &record.message, &record.payload, kMaxRecordBytes); !status.ok()) {
      return NoRecord(path_, last_sequence_, status);
    }
    if (first || record.message.has_header()) {
      RETURN_IF_ERROR(CheckHeader(record.message.header()));
      const std::uint64_t begins = record.message.header().first_sequence();
      first_in_file_[number_] = begins;
      read_ = begins - 1;
      // All before it were written, also where no record follows.
      if (begins > last_sequence_ + 1) return Missing(begins);
      continue;
    }
    // What a file that failed had taken stands in the next one again.
    const std::uint64_t sequence = record.message.sequence();
    read_ = sequence;
    if (sequence <= last_sequence_) continue;
    if (sequence != last_sequence_ + 1) return Missing(sequence);
    last_sequence_ = sequence;
    return record;
  }
}

}  // namespace leeway
