// Record logs: what was appended is read again, whatever the writer was killed at and whatever bit has flipped.
#include "common/record_log.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/support/crash_files.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

constexpr char kPath[] = "dir/a.log";

std::vector<std::string> RandomRecords(Random& random) {
  std::vector<std::string> records;
  for (std::uint64_t count = random.Between(1, 8); count > 0; --count) {
    // Some above the size that is copied.
    std::string record(random.Chance(0.2) ? random.Between(60000, 140000) : random.Between(1, 300), '\0');
    for (char& byte : record) byte = static_cast<char>(random.Bits());
    records.push_back(record);
  }
  return records;
}

// The file that holds these records.
std::string FileOf(const std::vector<std::string>& records) {
  CrashFiles files(1);
  const std::unique_ptr<RecordWriter> writer = *RecordWriter::Create(files, kPath);
  for (const std::string& record : records) REQUIRE(writer->Append(Buffer::FromString(record)).ok());
  REQUIRE(writer->Sync().ok());
  const std::string bytes = *files.Read(kPath);
  CHECK(writer->bytes() == bytes.size());
  return bytes;
}

struct Outcome {
  std::vector<std::string> records;
  bool torn = false;
  absl::Status status;
};

Outcome ReadAll(std::string bytes) {
  Outcome outcome;
  absl::StatusOr<RecordReader> reader = RecordReader::Parse(kPath, std::move(bytes));
  outcome.status = reader.status();
  while (outcome.status.ok()) {
    const absl::StatusOr<std::optional<Buffer>> record = reader->Next();
    outcome.status = record.status();
    if (!record.ok()) break;
    outcome.torn = reader->torn();
    if (!*record) break;
    outcome.records.push_back((*record)->ToString());
  }
  return outcome;
}

bool IsPrefix(const std::vector<std::string>& records, const std::vector<std::string>& of) {
  return records.size() <= of.size() && std::equal(records.begin(), records.end(), of.begin());
}

TEST_CASE("Record log: every record comes back") {
  Random random(71);
  for (int i = 0; i < 50; ++i) {
    const std::vector<std::string> records = RandomRecords(random);
    const Outcome read = ReadAll(FileOf(records));
    CHECK(read.status.ok());
    CHECK_FALSE(read.torn);
    CHECK(read.records == records);
  }
  CHECK(ReadAll(FileOf({})).records.empty());
}

TEST_CASE("Record log: cut anywhere, the whole records count") {
  const std::vector<std::string> records = {"one", std::string(300, 'b'), "three", "the fourth"};
  const std::string bytes = FileOf(records);
  std::vector<std::size_t> ends = {8};
  for (const std::string& record : records) ends.push_back(ends.back() + 12 + record.size());
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    for (const std::size_t zeros : {0, 3, 100}) {
      CAPTURE(cut, zeros);
      const Outcome read = ReadAll(bytes.substr(0, cut) + std::string(zeros, '\0'));
      const auto whole = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), cut) - ends.begin());
      const bool clean = zeros == 0 && std::count(ends.begin(), ends.end(), cut) > 0;
      CHECK(read.status.ok());
      CHECK(read.records.size() == (whole == 0 ? 0 : whole - 1));
      CHECK(read.torn == !clean);
      CHECK(IsPrefix(read.records, records));
    }
  }
}

TEST_CASE("Record log: a flipped bit never makes another record, and is an error unless it is in the last one") {
  const std::vector<std::string> records = {"first", std::string(200, 'x'), "last"};
  const std::string bytes = FileOf(records);
  const std::size_t last = bytes.size() - 12 - records.back().size();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      CAPTURE(at, bit);
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const Outcome read = ReadAll(flipped);
      CHECK(IsPrefix(read.records, records));
      CHECK(read.records.size() < records.size());
      if (at < last) {
        CHECK(read.status.code() == absl::StatusCode::kDataLoss);
        CHECK(absl::StrContains(read.status.message(), kPath));
      } else {
        CHECK((read.torn || read.status.code() == absl::StatusCode::kDataLoss));
      }
    }
  }
}

TEST_CASE("Record log: any bytes give records or one error") {
  Random random(72);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = FileOf({"some", "records"});
    for (std::uint64_t n = random.Between(1, 6); n > 0; --n) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Bits());
    }
    bytes.resize(random.Below(bytes.size() + 20));
    ReadAll(bytes);
  }
}

TEST_CASE("Record log: sizes that are not allowed are refused, and change nothing") {
  CrashFiles files(1);
  const std::unique_ptr<RecordWriter> writer = *RecordWriter::Create(files, kPath);
  CHECK(writer->Append({}).code() == absl::StatusCode::kInvalidArgument);
  const std::string large(kMaxRecordBytes + 1, 'x');
  CHECK(writer->Append(Buffer::Wrap(nullptr, large.data(), large.size())).code() == absl::StatusCode::kInvalidArgument);
  REQUIRE(writer->Append(Buffer::FromString("x")).ok());
  REQUIRE(writer->Flush().ok());
  CHECK(ReadAll(*files.Read(kPath)).records == std::vector<std::string>{"x"});
}

}  // namespace
}  // namespace leeway
