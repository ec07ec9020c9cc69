// Journal and JournalReader: what was called written is there, whatever power failures and failed syncs leave.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/codec.h"
#include "common/record_log.h"
#include "tests/server/journal_process.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

// Reads on from record 1, and begins the next file.
std::vector<std::string> FoundBy(CrashFiles& files) { return Process(files, true).found; }

TEST_CASE("Journal: power that fails within a write may leave any of its pages, and none that was synced is lost") {
  CrashFiles files(1);
  std::size_t synced = 0;
  {
    Process process(files, true);
    process.Append("synced");
    process.executor.RunAll();
    synced = files.Bytes(FilePath(1)).size();
    // One write, within which the power fails.
    for (int i = 0; i < 5; ++i) process.Append(std::string(300, static_cast<char>('a' + i)));
    process.executor.RunAll();
  }
  const std::string whole = files.Bytes(FilePath(1));
  for (std::size_t begin = synced; begin < whole.size(); begin += 7) {
    for (const std::size_t length : {100, 512, 1024}) {
      CAPTURE(begin, length);
      const auto left = files.Clone();
      const std::size_t size = std::min(length, whole.size() - begin);
      left->Bytes(FilePath(1)).replace(begin, size, size, '\0');
      const std::vector<std::string> found = FoundBy(*left);
      CHECK(!found.empty());
      CHECK(found.size() < 6);
      CHECK(FoundBy(*left) == found);  // and what comes behind it in the next files does not make it an error
    }
  }
  // A new file, of which even the beginning is missing.
  const auto left = files.Clone();
  left->Bytes(FilePath(2)) = std::string(4096, '\0') + whole.substr(synced);
  CHECK(FoundBy(*left).size() == 6);
}

TEST_CASE("Journal: what a failed sync has spoilt stands in the next file") {
  CrashFiles files(1);
  std::vector<std::string> sent;
  {
    Process process(files, true);
    for (int i = 0; i < 4; ++i) {
      sent.push_back(std::string(300, static_cast<char>('a' + i)));
      process.Append(sent.back());
      if (i == 0) process.executor.RunAll();
      files.FailSyncs(absl::UnavailableError("fsync 00000001.log: Input/output error"));
    }
    process.executor.RunAll();
    CHECK(process.told.size() == 1);
    files.FailSyncs(absl::OkStatus());
    process.clock.Advance(Journal::kTryAgain);
    process.executor.RunAll();
    CHECK(process.told.size() == 4);
  }
  std::string& spoilt = files.Bytes(FilePath(1));
  spoilt.replace(spoilt.size() - 700, 300, 300, '\0');
  CHECK(FoundBy(files) == sent);
}

// What a process that was killed had not synced counts as written once the next one has read it.
TEST_CASE("Journal: it does not go on behind an old file that cannot be synced") {
  CrashFiles files(1);
  {
    Process process(files, true);
    process.Append("a");
    process.executor.RunAll();
  }
  JournalReader reader = *JournalReader::Open(files, kDirectory, 0, 1, 0);
  REQUIRE(ReadAll(reader).size() == 1);
  const absl::Status failure = absl::UnavailableError("fsync 00000001.log: Input/output error");
  files.FailSyncs(failure);
  FakeClock clock;
  PumpedExecutor executor;
  CHECK(Journal::Open(OptionsAfter(reader, true), &files, &clock, &executor).status() == failure);
}

// As a version wrote it that did not say in a record what was written.
void MakeEarlier(CrashFiles& files, const std::string& path) {
  RecordReader reader = *RecordReader::Open(files, path);
  const std::unique_ptr<RecordWriter> writer = *RecordWriter::Create(files, path);
  for (std::optional<Buffer> body = *reader.Next(); body; body = *reader.Next()) {
    v1::JournalRecord record;
    Buffer payload;
    REQUIRE(DecodeMessage(*body, &record, &payload, kMaxRecordBytes).ok());
    CHECK(record.has_written() != record.has_header());
    record.clear_written();
    REQUIRE(writer->Append(EncodeMessage(record, payload)).ok());
  }
  REQUIRE(writer->Sync().ok());
}

TEST_CASE("JournalReader: damage in what later records call written is an error; where they do not say, any is") {
  const bool earlier = GENERATE(false, true);
  CrashFiles files(1);
  {
    Process process(files, true);
    for (int i = 0; i < 5; ++i) {
      process.Append(std::string(300, 'x'));
      process.executor.RunAll();
    }
  }
  if (earlier) MakeEarlier(files, FilePath(1));
  std::string& bytes = files.Bytes(FilePath(1));
  bytes.replace(bytes.size() - 1000, 100, 100, '\0');
  JournalReader reader = *JournalReader::Open(files, kDirectory, 0, 1, 0);
  absl::Status status;
  for (int i = 0; i < 5 && status.ok(); ++i) status = reader.Next().status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK(absl::StrContains(status.message(), "00000001.log, byte"));
  CHECK(reader.last_sequence() == 1);
}

// Processes that are killed, or lose power, at any operation: what was called written is found, in order, and nothing
// that was not appended.
TEST_CASE("Journal: whatever it is killed at, what was called written is there") {
  const std::uint64_t seed = GENERATE(range(0, 40));
  for (const bool power : {false, true}) {
    CAPTURE(seed, power);
    Random random(1000 + seed);
    CrashFiles files(seed);
    std::vector<std::string> sent;  // by sequence number - 1
    std::size_t written = 0;
    for (int life = 0; life < 12; ++life) {
      auto process = std::make_unique<Process>(files, power, random.Between(50, 8000));
      CHECK(process->found.size() >= written);
      REQUIRE(process->found.size() <= sent.size());
      sent.resize(process->found.size());
      CHECK(process->found == sent);
      written = process->journal->written();  // what was found may be acknowledged
      files.CrashAt(files.operations() + random.Between(1, 20));
      while (!files.crashed()) {
        const std::size_t size = random.Chance(0.3) ? random.Between(500, 3000) : random.Between(1, 200);
        sent.push_back(std::string(size, static_cast<char>('a' + random.Below(26))));
        process->Append(sent.back());
        if (random.Chance(0.5)) process->executor.RunOne();
      }
      process->executor.RunAll();
      for (const auto& [sequence, status] : process->told) {
        if (status.ok()) written = std::max<std::size_t>(written, sequence);
      }
      process.reset();
      files.Restart(power && random.Chance(0.5) ? CrashFiles::Loss::kPower : CrashFiles::Loss::kProcess);
    }
    CHECK(written > 0);
  }
}

}  // namespace
}  // namespace leeway
