// Fuzz target: the readers of a checkpoint's files: checkpoint.json, the header of a .safetensors file, a .state file.
//
// Input: a byte that says what the rest is.
//   0 a checkpoint.json         1 a .safetensors file      2 a .state file, as it lies
//   3 the body of a .state file, in a frame that fits      4 a checkpoint.json whose checkpoint is then read
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/safetensors_header.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/shard_state.h"
#include "server/checkpoint/verify_checkpoint.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

// Refused, by name.
void CheckRefusal(const absl::Status& status, const std::string& name) {
  FUZZ_CHECK(absl::IsDataLoss(status) || absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status));
  FUZZ_CHECK(absl::StrContains(status.message(), name));
}

void CheckIndex(const std::string& json) {
  const absl::StatusOr<Checkpoint> checkpoint = ParseCheckpointIndex("checkpoint.json", json);
  if (!checkpoint.ok()) return CheckRefusal(checkpoint.status(), "checkpoint.json");
  FUZZ_CHECK(checkpoint->index.files_size() == static_cast<int>(2 * checkpoint->placement.num_shards()));
  FUZZ_CHECK(checkpoint->manifest.elements() == checkpoint->placement.elements());
}

void CheckHeader(const std::string& bytes) {
  CrashFiles files(1);
  files.Bytes("f") = bytes;
  const auto open = files.Open("f");
  const auto header = ReadSafetensorsHeader("f", **open, {SafetensorsType::kF32, SafetensorsType::kI64});
  if (!header.ok()) return CheckRefusal(header.status(), "f");
  std::uint64_t end = 0;
  for (const SafetensorsTensor& tensor : header->tensors) {
    FUZZ_CHECK(end == 0 || tensor.offset == end);
    FUZZ_CHECK(tensor.offset <= bytes.size() && tensor.bytes() <= bytes.size() - tensor.offset);
    end = tensor.offset + tensor.bytes();
  }
  FUZZ_CHECK(end == 0 || end == bytes.size());
}

void CheckState(const std::string& bytes) {
  const absl::StatusOr<v1::ShardState> state = ParseShardState("f.state", bytes);
  if (!state.ok()) return CheckRefusal(state.status(), "f.state");
  FUZZ_CHECK(ParseShardState("f", EncodeShardState(*state))->SerializeAsString() == state->SerializeAsString());
}

// As EncodeShardState frames its message.
std::string Framed(const std::string& body) {
  std::string bytes = EncodeShardState({}) + body;
  const std::uint64_t size = body.size();
  const std::uint32_t body_crc = Crc32c(body.data(), body.size());
  std::memcpy(bytes.data() + 8, &size, sizeof(size));
  std::memcpy(bytes.data() + 16, &body_crc, sizeof(body_crc));
  const std::uint32_t frame_crc = Crc32c(bytes.data(), 20);
  std::memcpy(bytes.data() + 20, &frame_crc, sizeof(frame_crc));
  return bytes;
}

// Committed, with files of zeros in the sizes that the index wants, as far as they are small: all of it is looked at.
void CheckCheckpoint(const std::string& json) {
  constexpr std::uint64_t kLargest = 1 << 16;
  CrashFiles files(1);
  files.Bytes("c/checkpoint.json") = json;
  files.Bytes("c/COMMITTED") = absl::StrCat(absl::Hex(Crc32c(json.data(), json.size()), absl::kZeroPad8), "\n");
  const absl::StatusOr<Checkpoint> checkpoint = ReadCheckpointIndex(files, "c");
  if (!checkpoint.ok()) return CheckRefusal(checkpoint.status(), "c/checkpoint.json");
  for (const v1::CheckpointFile& file : checkpoint->index.files()) {
    if (file.bytes() <= kLargest) files.Bytes("c/" + file.name()).assign(file.bytes(), '\0');
  }
  const bool good = LookAtCheckpoint(files, "c", CheckpointCheck::kContents).status.ok();
  FUZZ_CHECK(good == VerifyCheckpoint(files, "c").empty());
  FUZZ_CHECK(!good);  // zeros are no shard's state
  const auto reader = CheckpointReader::Open(files, "c");
  FUZZ_CHECK(reader.ok());
  std::vector<float> value(1);
  const absl::Status read = (*reader)->Read(0, 0, absl::MakeSpan(value));
  FUZZ_CHECK(absl::IsDataLoss(read));
}

}  // namespace
}  // namespace leeway

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeway;
  FuzzInput input(data, size);
  const std::uint8_t what = input.Byte();
  const std::string bytes = input.Bytes(size);
  switch (what % 5) {
    case 0:
      CheckIndex(bytes);
      break;
    case 1:
      CheckHeader(bytes);
      break;
    case 2:
      CheckState(bytes);
      break;
    case 3:
      CheckState(Framed(bytes));
      break;
    default:
      CheckCheckpoint(bytes);
  }
  return 0;
}
