// Fuzz target: the readers of a journal: record logs (common/record_log.h), and the records of a shard's journal
// (server/journal_reader.h).
//
// Input: a byte that says what follows.
//   0 a file as it lies
//   1 a journal's files: for each record a byte, its length, with its bytes; a length of 0 begins the next file, and a
//     length of 255 cuts the end of the file by the byte that follows
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/record_log.h"
#include "server/journal.h"
#include "server/journal_reader.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

constexpr std::uint8_t kCut = 255;

// Whatever the bytes: records that a writer would write the same way, then an end or one clear error.
void CheckLog(const std::string& bytes) {
  absl::StatusOr<RecordReader> reader = RecordReader::Parse("f.log", bytes);
  if (!reader.ok()) {
    FUZZ_CHECK(absl::IsDataLoss(reader.status()) && absl::StrContains(reader.status().message(), "f.log"));
    return;
  }
  CrashFiles files(1);
  const auto writer = RecordWriter::Create(files, "again");
  std::size_t records = 0;
  for (;;) {
    const absl::StatusOr<std::optional<Buffer>> record = reader->Next();
    if (!record.ok()) {
      FUZZ_CHECK(absl::IsDataLoss(record.status()) && absl::StrContains(record.status().message(), "f.log"));
      break;
    }
    if (!*record) break;
    FUZZ_CHECK(!(*record)->empty());
    ++records;
    FUZZ_CHECK((*writer)->Append(**record).ok());
  }
  FUZZ_CHECK((*writer)->Flush().ok());
  const std::string again = files.Bytes("again");
  FUZZ_CHECK(records == 0 || absl::StartsWith(bytes, again));
}

// Records with sequence numbers that ascend by one, or one clear error.
void CheckJournal(FuzzInput& input) {
  CrashFiles files(1);
  std::uint64_t number = 1;
  std::unique_ptr<RecordWriter> writer = *RecordWriter::Create(files, "j/" + JournalFileName(number));
  while (!input.empty()) {
    const std::uint8_t length = input.Byte();
    if (length == 0 || length == kCut) {
      FUZZ_CHECK(writer->Flush().ok());
      std::string& bytes = files.Bytes("j/" + JournalFileName(number));
      if (length == kCut) bytes.resize(bytes.size() - std::min<std::size_t>(bytes.size(), input.Byte()));
      writer = *RecordWriter::Create(files, "j/" + JournalFileName(++number));
      continue;
    }
    const std::string body = input.Bytes(length);
    if (!body.empty()) FUZZ_CHECK(writer->Append(Buffer::FromString(body)).ok());
  }
  FUZZ_CHECK(writer->Flush().ok());
  absl::StatusOr<JournalReader> reader = JournalReader::Open(files, "j", 0, 2, 0);
  const auto is_clear = [](const absl::Status& status) {
    const bool code = absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
    return code && absl::StrContains(status.message(), "j/0");
  };
  if (!reader.ok()) {  // the newest file's header says in which era the journal is
    FUZZ_CHECK(is_clear(reader.status()));
    return;
  }
  FUZZ_CHECK(reader->next_file() == number + 1);
  for (std::uint64_t sequence = 1;; ++sequence) {
    const auto record = reader->Next();
    if (!record.ok()) {
      FUZZ_CHECK(is_clear(record.status()));
      return;
    }
    if (!*record) return;
    FUZZ_CHECK((*record)->message.sequence() == sequence);
    FUZZ_CHECK(reader->last_sequence() == sequence);
  }
}

}  // namespace
}  // namespace leeway

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeway;
  FuzzInput input(data, size);
  if (input.Byte() % 2 == 0) {
    CheckLog(input.Bytes(size));
  } else {
    CheckJournal(input);
  }
  return 0;
}
