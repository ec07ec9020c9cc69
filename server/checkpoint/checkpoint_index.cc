#include "server/checkpoint/checkpoint_index.h"

#include <google/protobuf/util/field_comparator.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/crc32c.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

// CRCs of 4 MiB pieces take some 15 bytes each: this is for 2^40 bytes on 4096 shards, with the largest manifest.
constexpr std::uint64_t kMaxIndexBytes = 256 << 20;

std::string CommittedText(const std::string& json) {
  return absl::StrFormat("%08x\n", Crc32c(json.data(), json.size()));
}

absl::StatusOr<std::string> IndexToJson(const v1::CheckpointIndex& index) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(index, &json, options);
  if (status.ok()) return json;
  return absl::InvalidArgumentError(absl::StrCat("the index of a checkpoint: ", status.ToString()));
}

// A NaN, as a loss may be, equals itself, and a map has no order.
bool Same(const v1::CheckpointIndex& a, const v1::CheckpointIndex& b) {
  google::protobuf::util::DefaultFieldComparator values;
  values.set_treat_nan_as_equal(true);
  google::protobuf::util::MessageDifferencer differencer;
  differencer.set_field_comparator(&values);
  return differencer.Compare(a, b);
}

// The file's checks fit its size and one another.
absl::Status CheckFile(const v1::CheckpointFile& file, const std::string& name, bool pieces) {
  if (file.name() != name) {
    return absl::DataLossError(absl::StrCat("names the file '", file.name(), "' where '", name, "' belongs"));
  }
  const std::uint64_t wanted = pieces ? (file.bytes() + kPieceBytes - 1) / kPieceBytes : 0;
  if (static_cast<std::uint64_t>(file.piece_crc32c_size()) != wanted) {
    return absl::DataLossError(absl::StrCat("has ", file.piece_crc32c_size(), " piece CRCs of ", name, "; its ",
                                            file.bytes(), " bytes take ", wanted));
  }
  if (wanted == 0) return absl::OkStatus();
  std::uint32_t whole = 0;
  for (std::uint64_t i = 0; i < wanted; ++i) {
    const std::uint64_t size = std::min(kPieceBytes, file.bytes() - i * kPieceBytes);
    whole = CombineCrc32c(whole, file.piece_crc32c(static_cast<int>(i)), size);
  }
  if (whole == file.crc32c()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("says that %s has CRC32C %08x, but its pieces together %08x", name, file.crc32c(), whole));
}

absl::Status Check(const v1::CheckpointIndex& index, Checkpoint& checkpoint) {
  if (index.format() != kCheckpointFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat("has format ", index.format(), "; this version reads ", kCheckpointFormat));
  }
  ASSIGN_OR_RETURN(checkpoint.manifest, Manifest::FromProto(index.manifest()));
  if (checkpoint.manifest.fingerprint() != index.model_fingerprint()) {
    return absl::DataLossError(absl::StrFormat("has a manifest with fingerprint %016x, and says %016x",
                                               checkpoint.manifest.fingerprint(), index.model_fingerprint()));
  }
  ASSIGN_OR_RETURN(checkpoint.placement, Placement::Make(checkpoint.manifest.elements(), index.num_shards()));
  if (checkpoint.placement.block_elements() != index.block_elements()) {
    return absl::FailedPreconditionError(absl::StrCat("has blocks of ", index.block_elements(),
                                                      " elements; this version cuts ",
                                                      checkpoint.placement.block_elements()));
  }
  if (index.slots() > kMaxSlots) {
    return absl::DataLossError(absl::StrCat("has ", index.slots(), " optimizer slots; at most ", kMaxSlots));
  }
  if (static_cast<std::uint64_t>(index.files_size()) != std::uint64_t{2} * index.num_shards()) {
    return absl::DataLossError(
        absl::StrCat("names ", index.files_size(), " files; ", index.num_shards(), " shards have two each"));
  }
  for (std::uint32_t shard = 0; shard < index.num_shards(); ++shard) {
    const int i = static_cast<int>(2 * shard);
    RETURN_IF_ERROR(CheckFile(index.files(i), TensorsFileName(shard, index.num_shards()), true));
    RETURN_IF_ERROR(CheckFile(index.files(i + 1), StateFileName(shard, index.num_shards()), false));
  }
  return absl::OkStatus();
}

}  // namespace

std::string TensorsFileName(std::uint32_t shard, std::uint32_t num_shards) {
  return absl::StrFormat("shard-%05d-of-%05d.safetensors", shard, num_shards);
}

std::string StateFileName(std::uint32_t shard, std::uint32_t num_shards) {
  return absl::StrFormat("shard-%05d-of-%05d.state", shard, num_shards);
}

absl::StatusOr<Checkpoint> ParseCheckpointIndex(const std::string& path, const std::string& json) {
  if (json.size() > kMaxIndexBytes) {
    return absl::DataLossError(absl::StrCat(path, ": it has ", json.size(), " bytes; at most ", kMaxIndexBytes));
  }
  Checkpoint checkpoint;
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, &checkpoint.index);
  if (!parsed.ok()) return absl::DataLossError(absl::StrCat(path, ": it is no index: ", parsed.ToString()));
  const absl::Status status = Check(checkpoint.index, checkpoint);
  if (status.ok()) return checkpoint;
  // What a part of the index is made of may say INVALID_ARGUMENT: here it is damage.
  const std::string message = absl::StrCat(path, ": it ", std::string(status.message()));
  return absl::IsFailedPrecondition(status) ? absl::FailedPreconditionError(message) : absl::DataLossError(message);
}

absl::StatusOr<Checkpoint> ReadCheckpointIndex(FileSystem& files, const std::string& directory) {
  const std::string mark = absl::StrCat(directory, "/", kCommittedFileName);
  const std::string path = absl::StrCat(directory, "/", kIndexFileName);
  absl::StatusOr<std::string> committed = files.Read(mark);
  if (absl::IsNotFound(committed.status())) {
    return absl::NotFoundError(absl::StrCat(directory, " is not committed: it has no ", kCommittedFileName));
  }
  RETURN_IF_ERROR(committed.status());
  absl::StatusOr<std::string> json = files.Read(path);
  if (absl::IsNotFound(json.status())) return absl::DataLossError(absl::StrCat(path, ": it is missing"));
  RETURN_IF_ERROR(json.status());
  if (const std::string wanted = CommittedText(*json); *committed != wanted) {
    constexpr std::size_t kDigits = 8;
    const bool digits = committed->size() == kDigits + 1 && committed->back() == '\n' &&
                        committed->find_first_not_of("0123456789abcdef") == kDigits;
    if (!digits) return absl::DataLossError(absl::StrCat(mark, ": it does not hold 8 hex digits and a newline"));
    return absl::DataLossError(absl::StrCat(path, ": its CRC32C is ", wanted.substr(0, kDigits), ", ",
                                            kCommittedFileName, " says ", committed->substr(0, kDigits)));
  }
  return ParseCheckpointIndex(path, *json);
}

absl::Status CheckFileSizes(FileSystem& files, const std::string& directory, const v1::CheckpointIndex& index) {
  for (const v1::CheckpointFile& file : index.files()) {
    const std::string path = absl::StrCat(directory, "/", file.name());
    const auto open = files.Open(path);
    if (absl::IsNotFound(open.status())) return absl::DataLossError(absl::StrCat(path, ": it is missing"));
    RETURN_IF_ERROR(open.status());
    if ((*open)->Size() != file.bytes()) {
      return absl::DataLossError(
          absl::StrCat(path, ": it has ", (*open)->Size(), " bytes, ", kIndexFileName, " says ", file.bytes()));
    }
  }
  return absl::OkStatus();
}

absl::Status CommitCheckpoint(FileSystem& files, const std::string& directory, const v1::CheckpointIndex& index) {
  ASSIGN_OR_RETURN(const std::string json, IndexToJson(index));
  const std::string path = absl::StrCat(directory, "/", kIndexFileName);
  // What could not be read again is refused now.
  const absl::StatusOr<Checkpoint> read = ParseCheckpointIndex(path, json);
  if (!read.ok()) return absl::InvalidArgumentError(read.status().message());
  if (!Same(read->index, index)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": as JSON the index would lose something"));
  }
  if (absl::Status whole = CheckFileSizes(files, directory, index); !whole.ok()) {
    return absl::Status(whole.code(),
                        absl::StrCat(whole.message(), " (is --checkpoint_dir one folder that all ps share?)"));
  }
  const std::string parent = std::filesystem::path(directory).parent_path().string();
  RETURN_IF_ERROR(files.SyncDirectory(parent.empty() ? "." : parent));  // `directory` itself
  RETURN_IF_ERROR(WriteAtomically(files, path, json));
  return WriteAtomically(files, absl::StrCat(directory, "/", kCommittedFileName), CommittedText(json));
}

}  // namespace leeway
