// Process: reads what there is of a journal, then writes on, as one process after another does.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/journal.h"
#include "server/journal_reader.h"
#include "tests/catch.h"
#include "tests/support/crash_files.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"

namespace leeway {

inline constexpr char kDirectory[] = "dir/journal";

inline std::string FilePath(std::uint64_t number) { return absl::StrCat(kDirectory, "/", JournalFileName(number)); }

// The payloads of all its records.
inline std::vector<std::string> ReadAll(JournalReader& reader) {
  std::vector<std::string> payloads;
  for (;;) {
    const auto record = reader.Next();
    INFO(record.status().ToString());
    REQUIRE(record.ok());
    if (!*record) return payloads;
    payloads.push_back((*record)->payload.ToString());
    CHECK((*record)->message.sequence() == reader.last_sequence());
  }
}

// To write on behind all that `reader` has read.
inline Journal::Options OptionsAfter(const JournalReader& reader, bool fsync, std::uint64_t file_bytes = 64 << 20) {
  Journal::Options options;
  options.directory = kDirectory;
  options.fsync = fsync;
  options.header.set_num_shards(1);
  options.next_sequence = reader.last_sequence() + 1;
  options.next_file = reader.next_file();
  options.old_files = reader.files();
  options.file_bytes = file_bytes;
  return options;
}

struct Process {
  // Reads what there is, then writes on.
  explicit Process(CrashFiles& files, bool fsync = false, std::uint64_t file_bytes = 64 << 20) {
    JournalReader reader = *JournalReader::Open(files, kDirectory, 0, 1, 0);
    found = ReadAll(reader);
    CHECK(reader.last_sequence() == found.size());
    journal = *Journal::Open(OptionsAfter(reader, fsync, file_bytes), &files, &clock, &executor);
  }
  ~Process() {
    journal->Stop();
    executor.RunAll();
  }

  // A record with this payload; `written` becomes what WhenWritten says.
  void Append(const std::string& payload) {
    v1::JournalRecord record;
    record.mutable_null_push();
    const std::uint64_t sequence = journal->Append(record, Buffer::FromString(payload));
    journal->WhenWritten(sequence, [this, sequence](const absl::Status& status) { told[sequence] = status; });
  }

  FakeClock clock;
  PumpedExecutor executor;
  std::vector<std::string> found;
  std::unique_ptr<Journal> journal;
  std::map<std::uint64_t, absl::Status> told;
};

}  // namespace leeway
