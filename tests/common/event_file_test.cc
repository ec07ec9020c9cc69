#include "common/event_file.h"

#include <string>

#include "proto/tensorboard.pb.h"
#include "tests/catch.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

TEST_CASE("a record is framed as TensorFlow frames it") {
  // The head of every event file that TensorFlow writes: 24 bytes, and the masked CRC of that number.
  CHECK(FramedRecord(std::string(24, 'x')).substr(0, 12) == std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12));
  // The CRC32C of "123456789" is 0xe3069283 (RFC 3720): rotated right by 15 bits, plus 0xa282ead8.
  const std::string record = FramedRecord("123456789");
  CHECK(record.size() == 8 + 4 + 9 + 4);
  const std::uint32_t masked = ((0xe3069283U >> 15) | (0xe3069283U << 17)) + 0xa282ead8U;
  for (int i = 0; i < 4; ++i) CHECK(static_cast<unsigned char>(record[21 + i]) == ((masked >> (8 * i)) & 0xff));
}

TEST_CASE("an event file begins with its version, then come its scalars") {
  CrashFiles files(1);
  {
    auto file = EventFile::Create(files, "events", 1700000000.5);
    REQUIRE(file.ok());
    REQUIRE((*file)->Append({1700000001, 7, {{"train/loss", 0.25}, {"eval/accuracy", 0.5}}}).ok());
    CHECK((*file)->bytes() == files.Bytes("events").size());
  }
  tensorboard::Event version;
  version.set_wall_time(1700000000.5);
  version.set_file_version("brain.Event:2");
  tensorboard::Event scalars;
  scalars.set_wall_time(1700000001);
  scalars.set_step(7);
  for (const auto& [tag, value] : {std::pair("train/loss", 0.25F), std::pair("eval/accuracy", 0.5F)}) {
    auto& added = *scalars.mutable_summary()->add_value();
    added.set_tag(tag);
    added.set_simple_value(value);
  }
  CHECK(version.SerializeAsString().size() == 24);
  CHECK(files.Bytes("events") == FramedRecord(version.SerializeAsString()) + FramedRecord(scalars.SerializeAsString()));
}

TEST_CASE("a value of 0 is written as any other") {
  CrashFiles files(1);
  auto file = EventFile::Create(files, "events", 0);
  REQUIRE(file.ok());
  const std::size_t version = files.Bytes("events").size();
  REQUIRE((*file)->Append({0, 0, {{"t", 0.0}}}).ok());
  // Of the summary: its value, of that the tag, and the field with four zero bytes.
  CHECK(files.Bytes("events").substr(version + 12) ==
        FramedRecord(std::string("\x2a\x0a\x0a\x08\x0a\x01t\x15\0\0\0\0", 12)).substr(12));
}

TEST_CASE("names of event files sort as their times do, and TensorBoard knows them") {
  CHECK(EventFileName(1700000000, "host", 12, 0) == "events.out.tfevents.1700000000.host.12.0");
  CHECK(EventFileName(5, "host", 12, 0) < EventFileName(1700000000, "host", 12, 0));
}

}  // namespace
}  // namespace leeway
