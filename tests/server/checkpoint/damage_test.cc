// Damaged, foreign and hostile files of a checkpoint are refused by name and reason.
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/crc32c.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/shard_state.h"
#include "server/checkpoint/verify_checkpoint.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

constexpr char kPath[] = "dir/step-00000003";
constexpr char kTensors[] = "shard-00000-of-00001.safetensors";
constexpr char kState[] = "shard-00000-of-00001.state";

std::string In(const std::string& name) { return absl::StrCat(kPath, "/", name); }

// A mark that fits whatever checkpoint.json says.
void CommitAnyway(CrashFiles& files, const std::string& json) {
  files.Bytes(In(kIndexFileName)) = json;
  files.Bytes(In(kCommittedFileName)) =
      absl::StrCat(absl::Hex(Crc32c(json.data(), json.size()), absl::kZeroPad8), "\n");
}

absl::Status ReadAll(CrashFiles& files, const MadeUp& made) {
  const auto reader = CheckpointReader::Open(files, kPath);
  if (!reader.ok()) return reader.status();
  if (absl::Status status = CheckMadeUp(**reader, made, 2); !status.ok()) return status;
  for (std::uint32_t shard = 0; shard < made.num_shards; ++shard) {
    if (const auto state = (*reader)->ReadState(shard); !state.ok()) return state.status();
  }
  return absl::OkStatus();
}

TEST_CASE("damage: every flipped bit of a checkpoint is found, and its file named") {
  const MadeUp made = {3, 1, 1, 3, TestSeed()};
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  REQUIRE(ReadAll(files, made).ok());
  std::size_t flips = 0;
  const std::vector<std::string> names = *files.List(kPath);
  for (const std::string& name : names) {
    std::string& bytes = files.Bytes(In(name));
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit, ++flips) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      const std::vector<CheckpointDamage> damages = VerifyCheckpoint(files, kPath);
      const absl::Status read = ReadAll(files, made);
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      // A digit of COMMITTED that has become another: which of the two files is wrong cannot be told.
      const bool file_named = damages.size() == 1 && (damages[0].file == name || name == kCommittedFileName);
      const bool named = file_named && damages[0].offset == 0 && absl::StrContains(damages[0].reason, name);
      const bool refused = absl::IsDataLoss(read) && absl::StrContains(read.message(), name);
      if (!named || !refused) {
        FAIL(name << " bit " << bit << ": " << damages.size() << " damages, "
                  << (damages.empty() ? "none" : damages[0].reason) << "; read: " << read);
      }
    }
  }
  CHECK(flips > 8 * 1000);
  CHECK(ReadAll(files, made).ok());
}

TEST_CASE("damage: every file cut anywhere is found, and its file named") {
  const MadeUp made = {3, 1, 1, 3, TestSeed()};
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  const std::vector<std::string> names = *files.List(kPath);
  for (const std::string& name : names) {
    const std::string whole = files.Bytes(In(name));
    for (std::size_t size = 0; size <= whole.size() + 1; ++size) {
      if (size == whole.size()) continue;
      files.Bytes(In(name)) = size < whole.size() ? whole.substr(0, size) : whole + '\0';
      const std::vector<CheckpointDamage> damages = VerifyCheckpoint(files, kPath);
      REQUIRE(damages.size() == 1);
      CHECK(damages[0].file == name);
      CHECK(absl::StrContains(damages[0].reason, name));
      if (name == kTensors || name == kState) {
        CHECK(damages[0].offset == std::min(size, whole.size()));
        CHECK(absl::StrContains(damages[0].reason,
                                absl::StrCat("it has ", size, " bytes, checkpoint.json says ", whole.size())));
        CHECK(absl::IsDataLoss(LookAtCheckpoint(files, kPath, CheckpointCheck::kIndex).status));
      }
      const absl::Status read = ReadAll(files, made);
      CHECK(absl::IsDataLoss(read));
      CHECK(absl::StrContains(read.message(), name));
    }
    REQUIRE(files.Remove(In(name)).ok());
    const std::vector<CheckpointDamage> damages = VerifyCheckpoint(files, kPath);
    REQUIRE(damages.size() == 1);
    CHECK(damages[0].file == name);
    CHECK_FALSE(ReadAll(files, made).ok());
    files.Bytes(In(name)) = whole;
  }
  CHECK(VerifyCheckpoint(files, kPath).empty());
}

TEST_CASE("damage: in a large file the piece is named, and what lies elsewhere can still be read") {
  const MadeUp made = {2'500'000, 1, 0, 3, TestSeed()};
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  std::string& bytes = files.Bytes(In(kTensors));
  REQUIRE(bytes.size() > 2 * kPieceBytes);
  bytes[kPieceBytes + 1000] ^= 1;
  bytes.back() ^= 1;
  const std::vector<CheckpointDamage> damages = VerifyCheckpoint(files, kPath);
  REQUIRE(damages.size() == 2);
  CHECK(damages[0].file == kTensors);
  CHECK(damages[0].offset == kPieceBytes);
  CHECK(absl::StrContains(damages[0].reason, "damaged in bytes 4194304 to 8388607: their CRC32C is "));
  CHECK(damages[1].offset == 2 * kPieceBytes);
  CHECK(LookAtCheckpoint(files, kPath, CheckpointCheck::kIndex).status.ok());
  CHECK(absl::IsDataLoss(LookAtCheckpoint(files, kPath, CheckpointCheck::kContents).status));
  const auto reader = CheckpointReader::Open(files, kPath);
  std::vector<float> values(1'500'000);
  CHECK((*reader)->Read(0, 0, absl::MakeSpan(values).first(1'000'000)).ok());
  CHECK(absl::IsDataLoss((*reader)->Read(0, 0, absl::MakeSpan(values))));
  CHECK(absl::IsDataLoss((*reader)->Read(0, made.elements - 1, absl::MakeSpan(values).first(1))));
}

// The files are whole, and another checkpoint's; the index has been written to fit them.
TEST_CASE("damage: a foreign file is refused though its CRC is right") {
  const MadeUp made = {5000, 2, 1, 3, 1};
  const auto damages_with = [&](const MadeUp& other, std::uint32_t shard) {
    CrashFiles files(1);
    v1::CheckpointIndex index = MadeUpIndex(made), elsewhere = MadeUpIndex(other);
    for (std::uint32_t s = 0; s < 2; ++s) REQUIRE(WriteShard(files, kPath, made, s, &index).ok());
    REQUIRE(WriteShard(files, "other", other, shard, &elsewhere).ok());
    for (int i = 0; i < 2; ++i) {
      const std::string name = index.files(i).name();
      files.Bytes(In(name)) = files.Bytes("other/" + elsewhere.files(i).name());
      *index.mutable_files(i) = elsewhere.files(i);
      index.mutable_files(i)->set_name(name);
    }
    REQUIRE(CommitCheckpoint(files, kPath, index).ok());
    const std::vector<CheckpointDamage> damages = VerifyCheckpoint(files, kPath);
    REQUIRE(damages.size() == 2);
    CHECK(absl::StrContains(damages[0].reason, "shard-00000-of-00002.safetensors: another file: "));
    CHECK(absl::StrContains(damages[1].reason, "shard-00000-of-00002.state: it is of shard "));
    return damages[0].reason;
  };
  MadeUp other = made;
  other.num_shards = 3;
  CHECK(absl::StrContains(damages_with(other, 0), "its num_shards is 3, the checkpoint's 2"));
  other = made;
  other.slots = 2;
  other.step = 4;
  CHECK(absl::StrContains(damages_with(other, 0), "it has 4 tensors, the checkpoint's 3"));
  other = made;
  other.seed = 2;
  CHECK(absl::StrContains(damages_with(other, 1), "its shard_index is 1, the checkpoint's 0"));
  other = made;
  other.elements = 5001;
  other.step = 4;
  CHECK(absl::StrContains(damages_with(other, 0), "its elements is 5001, the checkpoint's 5000"));
}

TEST_CASE("damage: an index that is committed and wrong is refused") {
  const MadeUp made = {100, 1, 1, 3, 1};
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  const std::string good = files.Bytes(In(kIndexFileName));
  CommitAnyway(files, good);
  REQUIRE(ReadCheckpointIndex(files, kPath).ok());
  const auto refusal = [&](const std::string& json, absl::StatusCode code = absl::StatusCode::kDataLoss) {
    CommitAnyway(files, json);
    const absl::Status status = ReadCheckpointIndex(files, kPath).status();
    CAPTURE(status.ToString());
    CHECK(status.code() == code);
    CHECK(absl::StartsWith(status.message(), "dir/step-00000003/checkpoint.json: it "));
    const std::vector<CheckpointDamage> damages = VerifyCheckpoint(files, kPath);
    REQUIRE(damages.size() == 1);
    CHECK(damages[0].file == kIndexFileName);
    return std::string(status.message());
  };
  const auto with = [&](const std::string& what, const std::string& instead) {
    REQUIRE(absl::StrContains(good, what));
    return absl::StrReplaceAll(good, {{what, instead}});
  };
  for (const char* json : {"", "{", "[]", "null", "\"x\"", "{\"format\":}", "{\"no_such_field\":1}", "{\"step\":-1}",
                           "{\"files\":[1]}", "{\"slots\":1e99}", "{\"step\":\"18446744073709551616\"}"}) {
    CAPTURE(json);
    refusal(json);
  }
  CHECK(absl::StrContains(refusal(std::string(100'000, '[')), "no index"));
  CHECK(absl::StrContains(refusal("{\"manifest\":" + std::string(100'000, '{')), "no index"));
  CHECK(absl::StrContains(refusal(with("\"format\": 1", "\"format\": 2"), absl::StatusCode::kFailedPrecondition),
                          "format 2; this version reads 1"));
  CHECK(absl::StrContains(refusal(with("\"block_elements\": \"4096\"", "\"block_elements\": \"8192\""),
                                  absl::StatusCode::kFailedPrecondition),
                          "blocks of 8192 elements; this version cuts 4096"));
  CHECK(
      absl::StrContains(refusal(with("\"num_shards\": 1", "\"num_shards\": 4000000000")), "num_shards is 4000000000"));
  CHECK(absl::StrContains(refusal(with("\"num_shards\": 1", "\"num_shards\": 2")), "names 2 files"));
  CHECK(absl::StrContains(refusal(with("\"slots\": 1", "\"slots\": 5")), "5 optimizer slots; at most 4"));
  CHECK(absl::StrContains(refusal(with("first/w", "../../w")), "fingerprint"));
  CHECK(absl::StrContains(refusal(with("shard-00000-of-00001.state", "../../etc/passwd")), "names the file"));
  CHECK(absl::StrContains(refusal(with("\"shape\"", "\"shapes\"")), "no index"));
  // A size beyond everything: neither memory nor time is spent on it.
  const v1::CheckpointIndex index = ReadCheckpointIndex((CommitAnyway(files, good), files), kPath)->index;
  const std::string bytes = absl::StrCat("\"bytes\": \"", index.files(0).bytes(), "\"");
  CHECK(absl::StrContains(refusal(with(bytes, "\"bytes\": \"18446744073709551615\"")), "piece CRCs"));
}

TEST_CASE("damage: COMMITTED holds 8 hex digits and a newline, and nothing else") {
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "dir", {100, 1, 0, 3, 1}).ok());
  std::string& mark = files.Bytes(In(kCommittedFileName));
  const std::string good = mark;
  for (const std::string& bad : {good.substr(0, 8), good + "\n", "0x" + good, std::string("\0\0\0\0\0\0\0\0\n", 9),
                                 std::string(), std::string(1 << 20, 'a')}) {
    mark = bad;
    const absl::Status status = ReadCheckpointIndex(files, kPath).status();
    CHECK(absl::StrContains(status.message(), "/COMMITTED: it does not hold 8 hex digits and a newline"));
  }
  mark = good[0] == '0' ? '1' + good.substr(1) : '0' + good.substr(1);
  CHECK(absl::StrContains(ReadCheckpointIndex(files, kPath).status().message(), "checkpoint.json: its CRC32C is "));
}

TEST_CASE("damage: a state's frame is checked from its first byte to its last") {
  v1::ShardState state = MadeUpState({}, 0);
  const std::string good = EncodeShardState(state);
  REQUIRE(ParseShardState("f", good)->SerializeAsString() == state.SerializeAsString());
  CHECK(ParseShardState("f", EncodeShardState({})).ok());
  const auto refusal = [](const std::string& bytes) {
    const absl::Status status = ParseShardState("f.state", bytes).status();
    CHECK(absl::IsDataLoss(status));
    CHECK(absl::StartsWith(status.message(), "f.state: "));
    return std::string(status.message());
  };
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    refusal(bytes);
  }
  for (std::size_t size = 0; size < good.size(); ++size) refusal(good.substr(0, size));
  CHECK(absl::StrContains(refusal(good + "x"), absl::StrCat("has ", good.size() - 23, " bytes, and says ")));
  CHECK(absl::StrContains(refusal(""), "0 bytes are no shard's state"));
  CHECK(absl::StrContains(refusal(std::string(100, 'x')), "it begins otherwise"));
  // A frame that fits a body that is no message.
  std::string body = EncodeShardState({}) + "\xff\xff\xff";
  const std::uint64_t size = 3;
  const std::uint32_t body_crc = Crc32c(body.data() + 24, 3);
  std::memcpy(body.data() + 8, &size, 8);
  std::memcpy(body.data() + 16, &body_crc, 4);
  const std::uint32_t frame_crc = Crc32c(body.data(), 20);
  std::memcpy(body.data() + 20, &frame_crc, 4);
  CHECK(absl::StrContains(refusal(body), "no message that this version knows"));
}

TEST_CASE("damage: step numbers below zero are refused") {
  CrashFiles files(1);
  MadeUp made = {100, 1, 0, 3, 1};
  v1::CheckpointIndex index = MadeUpIndex(made);
  REQUIRE(WriteShard(files, kPath, made, 0, &index).ok());
  std::string& bytes = files.Bytes(In(kTensors));
  const auto open = files.Open(In(kTensors));
  const auto header = ReadSafetensorsHeader("f", **open, {SafetensorsType::kF32, SafetensorsType::kI64});
  bytes[header->Find("steps")->offset + 7] = '\x80';
  index.mutable_files(0)->set_crc32c(Crc32c(bytes.data(), bytes.size()));
  index.mutable_files(0)->set_piece_crc32c(0, index.files(0).crc32c());
  REQUIRE(CommitCheckpoint(files, kPath, index).ok());
  const absl::Status status = ReadAll(files, made);
  CHECK(absl::IsDataLoss(status));
  CHECK(absl::StrContains(status.message(), "of its steps has made -"));
}

}  // namespace
}  // namespace leeway
