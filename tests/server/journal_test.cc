// Journal and JournalReader: records come back in their order; what was called written is there. Full disks, and files
// that are not whole.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/message_size.h"
#include "server/journal_reader.h"
#include "tests/catch.h"
#include "tests/server/journal_process.h"

namespace leeway {
namespace {

TEST_CASE("Journal: a callback comes when its record is written, not before, and once") {
  CrashFiles files(1);
  Process process(files);
  process.Append("a");
  process.Append("b");
  CHECK(process.told.empty());
  process.executor.RunAll();
  CHECK(process.told.size() == 2);
  bool in_line = false;
  process.journal->WhenWritten(2, [&in_line](const absl::Status& status) { in_line = status.ok(); });
  CHECK(in_line);
  CHECK(process.journal->last_sequence() == 2);
}

TEST_CASE("Journal: a record larger than any message is read again") {
  CrashFiles files(1);
  {
    Process process(files);
    v1::JournalRecord record;
    record.mutable_snapshot()->set_failure(std::string(kMaxMessageBytes, 'x'));
    process.journal->Append(record);
    process.executor.RunAll();
  }
  CHECK(Process(files).found.size() == 1);
}

TEST_CASE("Journal: a large one goes on in new files") {
  CrashFiles files(1);
  std::vector<std::string> sent;
  {
    Process process(files, false, 1000);
    for (int i = 0; i < 40; ++i) {
      sent.push_back(std::string(300, static_cast<char>('a' + i % 26)));
      process.Append(sent.back());
    }
    process.executor.RunAll();
  }
  CHECK(files.List(kDirectory)->size() >= 8);
  CHECK(Process(files).found == sent);
}

TEST_CASE("Journal: an old file that is gone already does not keep the others") {
  CrashFiles files(1);
  Process process(files, false, 1000);
  for (int i = 0; i < 40; ++i) process.Append(std::string(300, 'x'));
  process.executor.RunAll();
  const std::size_t all = files.List(kDirectory)->size();
  REQUIRE(all >= 8);
  // As over NFS, where a removal may be carried out, its answer lost, and the second attempt told that there is none.
  REQUIRE(files.Remove(absl::StrCat(kDirectory, "/", JournalFileName(1))).ok());
  CHECK(process.journal->RemoveBefore(process.journal->last_sequence()).ok());
  CHECK(files.List(kDirectory)->size() == 1);
}

TEST_CASE("Journal: a full disk lets nothing count as written, and when there is room again all of it is") {
  CrashFiles files(3);
  Process process(files);
  process.Append("before");
  process.executor.RunAll();
  files.FailAppends(absl::ResourceExhaustedError("write x.log: No space left on device"));
  process.Append("first");
  process.Append("second");
  process.executor.RunAll();
  CHECK(process.told.size() == 1);
  CHECK(absl::IsUnavailable(process.journal->Ready()));
  CHECK(absl::StrContains(process.journal->Ready().message(), "No space left"));
  for (int i = 0; i < 20; ++i) {
    process.clock.Advance(Journal::kTryAgain);
    process.executor.RunAll();
  }
  CHECK(process.told.size() == 1);
  CHECK(files.List(kDirectory)->size() <= 3);  // it does not leave a file for every attempt
  files.FailAppends(absl::OkStatus());
  process.clock.Advance(Journal::kTryAgain);
  process.executor.RunAll();
  CHECK(process.told.size() == 3);
  CHECK(process.journal->Ready().ok());
  CHECK(Process(files).found == std::vector<std::string>{"before", "first", "second"});
}

TEST_CASE("Journal: a process that is started on a full disk waits for room like any other") {
  CrashFiles files(3);
  {
    Process process(files);
    process.Append("before");
  }
  files.FailAppends(absl::ResourceExhaustedError("write x.log: No space left on device"));
  Process process(files);
  CHECK(process.found == std::vector<std::string>{"before"});
  process.Append("first");
  process.executor.RunAll();
  CHECK(process.told.empty());
  CHECK(absl::IsUnavailable(process.journal->Ready()));
  files.FailAppends(absl::OkStatus());
  process.clock.Advance(Journal::kTryAgain);
  process.executor.RunAll();
  CHECK(process.told.size() == 1);
  CHECK(Process(files).found == std::vector<std::string>{"before", "first"});
}

TEST_CASE("Journal: room that comes bit by bit is used for what is new, not for the same records again") {
  CrashFiles files(5);
  Process process(files);
  constexpr std::uint64_t kRecord = 1 << 20;
  files.SetCapacity(kRecord / 2);
  std::vector<std::string> sent;
  for (int i = 0; i < 12; ++i) {
    sent.push_back(std::string(kRecord, static_cast<char>('a' + i)));
    process.Append(sent.back());
  }
  process.executor.RunAll();
  CHECK(process.told.empty());
  // Never as much at once as waits.
  std::uint64_t capacity = 0;
  for (int i = 0; i < 10 && process.told.size() < sent.size(); ++i) {
    capacity += 5 * kRecord + 4096;
    files.SetCapacity(capacity);
    process.clock.Advance(Journal::kTryAgain);
    process.executor.RunAll();
  }
  CHECK(process.told.size() == sent.size());
  CHECK(capacity < 3 * sent.size() * kRecord);
  CHECK(Process(files).found == sent);
}

TEST_CASE("Journal: stopped while the disk is full, it says so to who waits") {
  CrashFiles files(1);
  Process process(files);
  files.FailAppends(absl::ResourceExhaustedError("disk full"));
  process.Append("a");
  process.executor.RunAll();
  process.journal->Stop();
  REQUIRE(process.told.size() == 1);
  CHECK(absl::IsResourceExhausted(process.told[1]));
}

TEST_CASE("Journal: too much that waits is refused") {
  CrashFiles files(1);
  Process process(files);
  for (int i = 0; i < 5; ++i) process.Append(std::string(60 << 20, 'x'));
  CHECK(absl::IsUnavailable(process.journal->Ready()));
  process.executor.RunAll();
  CHECK(process.journal->Ready().ok());
}

TEST_CASE("JournalReader: damage, missing records and other shards' files are named") {
  CrashFiles files(1);
  {
    Process process(files, false, 100);
    for (int i = 0; i < 9; ++i) process.Append(std::string(50, 'x'));
    process.executor.RunAll();
  }
  const auto error = [&files](std::uint32_t shard, std::uint64_t after) {
    JournalReader reader = *JournalReader::Open(files, kDirectory, shard, 1, after);
    for (;;) {
      const auto record = reader.Next();
      if (!record.ok()) return record.status();
      if (!*record) return absl::OkStatus();
    }
  };
  CHECK(error(0, 0).ok());
  CHECK(absl::StrContains(error(1, 0).message(), "is the journal of ps 0 of 1; this is ps 1 of 1"));
  const std::string second = FilePath(2);
  const std::string kept = files.Bytes(second);
  files.Bytes(second)[40] ^= 1;
  CHECK(error(0, 0).code() == absl::StatusCode::kDataLoss);
  CHECK(absl::StrContains(error(0, 0).message(), "00000002.log"));
  REQUIRE(files.Remove(second).ok());
  CHECK(error(0, 0).code() == absl::StatusCode::kDataLoss);
  CHECK(absl::StrContains(error(0, 0).message(), "missing"));
  CHECK(error(0, 8).ok());  // what a checkpoint contains may be gone
  REQUIRE(files.Remove(FilePath(4)).ok());
  files.Bytes(FilePath(5)).resize(60);  // the header alone is whole
  CHECK(absl::StrContains(error(0, 6).message(), "record 9 follows record 6"));
}

TEST_CASE("JournalReader: only the newest era's records count, whatever became of the files before") {
  CrashFiles files(1);
  {
    Process process(files, false, 100);
    for (int i = 0; i < 5; ++i) process.Append(std::string(50, 'x'));
    process.executor.RunAll();
  }
  // The run has gone back: what begins the new era knows of the old files, and that it needs none of them.
  FakeClock clock;
  PumpedExecutor executor;
  Journal::Options options;
  options.directory = kDirectory;
  options.header.set_num_shards(1);
  options.header.set_era(1);
  options.header.set_base_checkpoint("step-00000007");
  options.file_bytes = 100;
  {
    const JournalReader reader = *JournalReader::Open(files, kDirectory, 0, 1, 0);
    options.next_file = reader.next_file();
    options.old_files = reader.all_as_earlier();
    CHECK(options.old_files.size() + 1 == options.next_file);
  }
  const auto journal = *Journal::Open(options, &files, &clock, &executor);
  for (int i = 0; i < 4; ++i) {
    v1::JournalRecord record;
    record.mutable_null_push();
    journal->Append(record, Buffer::FromString(std::string(50, 'y')));
  }
  executor.RunAll();
  journal->Stop();
  files.Bytes(absl::StrCat(kDirectory, "/00000001.log"))[10] ^= 1;  // a header of the era before
  files.Bytes(absl::StrCat(kDirectory, "/", JournalFileName(options.next_file - 1)))[10] ^= 1;

  const v1::JournalHeader newest = *NewestJournalHeader(files, kDirectory);
  CHECK(newest.era() == 1);
  CHECK(newest.base_checkpoint() == "step-00000007");
  JournalReader reader = *JournalReader::Open(files, kDirectory, 0, 1, 0);
  CHECK(ReadAll(reader) == std::vector<std::string>(4, std::string(50, 'y')));
  // The next process keeps what its era needs, and the files before go with the first that is not needed.
  options.old_files = reader.files();
  options.next_file = reader.next_file();
  options.next_sequence = reader.last_sequence() + 1;
  const auto next = *Journal::Open(options, &files, &clock, &executor);
  REQUIRE(next->RemoveBefore(1).ok());
  CHECK_FALSE(files.Exists(absl::StrCat(kDirectory, "/00000001.log")));
  next->Stop();
}

}  // namespace
}  // namespace leeway
