#include "server/checkpoint/checkpoint_receiver.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {
namespace {

constexpr std::uint64_t kMostHeader = 1 << 20;  // of a .safetensors file: names and shapes of a few tensors

std::uint32_t CrcOf(const Buffer& bytes) {
  std::uint32_t crc = 0;
  for (const Buffer::Slice& slice : bytes.slices()) crc = Crc32c(slice.data, slice.size, crc);
  return crc;
}

// Not tried again by who brings it: the checkpoint is given up.
absl::Status CannotBeWritten(const absl::Status& status) {
  return absl::AbortedError(absl::StrCat("ps 0: ", std::string(status.message())));
}

}  // namespace

void CheckpointReceiver::Follow(const v1::Cut& cut, const Placement& placement) {
  if (cut.id() == cut_.id()) return;
  Drop();
  cut_ = cut;
  placement_ = placement;
}

void CheckpointReceiver::Drop() {
  if (incoming_.empty()) return;
  const bool committed = files_->Exists(absl::StrCat(directory_, "/", cut_.name(), "/", kCommittedFileName));
  for (auto& [key, file] : incoming_) {
    const bool complete = file.missing == 0 && file.failure.ok() && file.open == nullptr;
    if (complete && committed) continue;
    file.open.reset();
    // It may be gone: with its directory, for another checkpoint of this step.
    files_->Remove(complete ? file.path : file.aside).IgnoreError();
  }
  incoming_.clear();
}

std::uint64_t CheckpointReceiver::MostBytes(const v1::WriteCheckpointRequest& piece) const {
  if (piece.state()) return kMostStateBytes;
  const std::uint64_t elements = placement_.ShardElements(piece.shard_index());
  return kMostHeader + 8 * placement_.ShardBlocks(piece.shard_index()) + elements * sizeof(float) * (1 + kMaxSlots);
}

absl::Status CheckpointReceiver::Check(const v1::WriteCheckpointRequest& piece, const Buffer& bytes) const {
  if (cut_.id() == 0 || piece.cut() != cut_.id()) {
    return absl::FailedPreconditionError(
        absl::StrCat("ps 0: the checkpoint of cut ", piece.cut(), " is not under way",
                     cut_.id() == 0 ? "" : absl::StrCat("; that of cut ", cut_.id(), " is")));
  }
  if (piece.shard_index() >= placement_.num_shards()) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard ", piece.shard_index(), " of ", placement_.num_shards(), " brings a file of a checkpoint"));
  }
  if (piece.bytes() == 0 || piece.bytes() > MostBytes(piece)) {
    return absl::InvalidArgumentError(absl::StrCat("a file of ", piece.bytes(), " bytes; shard ", piece.shard_index(),
                                                   "'s has 1 to ", MostBytes(piece)));
  }
  if (piece.offset() % kPieceBytes != 0 || piece.offset() >= piece.bytes() ||
      bytes.size() != std::min(kPieceBytes, piece.bytes() - piece.offset())) {
    return absl::InvalidArgumentError(absl::StrCat(bytes.size(), " bytes at ", piece.offset(), " are no piece of ",
                                                   piece.bytes(), ", which are cut at multiples of ", kPieceBytes));
  }
  const std::uint32_t crc = CrcOf(bytes);
  if (crc == piece.piece_crc32c()) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat("the piece at byte %d is damaged: its CRC32C is %08x, and should be %08x",
                                             piece.offset(), crc, piece.piece_crc32c()));
}

absl::Status CheckpointReceiver::Create(const v1::WriteCheckpointRequest& piece, File* file) {
  const std::string directory = absl::StrCat(directory_, "/", cut_.name());
  const std::uint32_t shard = piece.shard_index(), shards = placement_.num_shards();
  file->path =
      absl::StrCat(directory, "/", piece.state() ? StateFileName(shard, shards) : TensorsFileName(shard, shards));
  file->aside = absl::StrCat(file->path, ".", cut_.id(), ".tmp");
  file->bytes = piece.bytes();
  file->crc = piece.crc32c();
  file->missing = (piece.bytes() + kPieceBytes - 1) / kPieceBytes;
  file->pieces.resize(file->missing);
  if (files_->Exists(absl::StrCat(directory, "/", kCommittedFileName))) {
    return absl::AlreadyExistsError(absl::StrCat(directory, " holds a committed checkpoint"));
  }
  ASSIGN_OR_RETURN(file->open, files_->CreateSized(file->aside, file->bytes));
  return absl::OkStatus();
}

absl::StatusOr<CheckpointReceiver::File*> CheckpointReceiver::FileOf(const v1::WriteCheckpointRequest& piece) {
  const auto [it, is_new] = incoming_.try_emplace({piece.shard_index(), piece.state()});
  File* const file = &it->second;
  if (is_new) file->failure = Create(piece, file);
  if (file->bytes == piece.bytes() && file->crc == piece.crc32c()) return file;
  return absl::InvalidArgumentError(
      absl::StrFormat("pieces of %s are of a file of %d bytes with CRC32C %08x; this one "
                      "is of %d bytes with %08x",
                      file->path, file->bytes, file->crc, piece.bytes(), piece.crc32c()));
}

absl::Status CheckpointReceiver::WritePiece(const v1::WriteCheckpointRequest& piece, const Buffer& bytes, File* file) {
  std::uint64_t at = piece.offset();
  for (const Buffer::Slice& slice : bytes.slices()) {
    RETURN_IF_ERROR(file->open->WriteAt(at, slice.data, slice.size));
    at += slice.size;
  }
  file->pieces[piece.offset() / kPieceBytes] = piece.piece_crc32c();
  return --file->missing == 0 ? Complete(file) : absl::OkStatus();
}

absl::Status CheckpointReceiver::Complete(File* file) {
  std::uint32_t crc = 0;
  std::uint64_t left = file->bytes;
  for (const std::optional<std::uint32_t>& piece : file->pieces) {
    const std::uint64_t size = std::min(kPieceBytes, left);
    crc = CombineCrc32c(crc, *piece, size);
    left -= size;
  }
  if (crc != file->crc) {
    return absl::DataLossError(
        absl::StrFormat("%s: its pieces have CRC32C %08x together, and should have %08x", file->path, crc, file->crc));
  }
  RETURN_IF_ERROR(file->open->Sync());
  RETURN_IF_ERROR(file->open->Close());
  RETURN_IF_ERROR(files_->Rename(file->aside, file->path));
  file->open.reset();
  return files_->SyncDirectory(absl::StrCat(directory_, "/", cut_.name()));
}

absl::StatusOr<bool> CheckpointReceiver::Write(const v1::WriteCheckpointRequest& piece, const Buffer& bytes) {
  RETURN_IF_ERROR(Check(piece, bytes));
  ASSIGN_OR_RETURN(File* const file, FileOf(piece));
  const bool has_come = file->failure.ok() && file->pieces[piece.offset() / kPieceBytes].has_value();
  if (file->failure.ok() && !has_come) file->failure = WritePiece(piece, bytes, file);
  if (file->failure.ok()) return file->missing == 0;
  // It takes room, and will never be whole.
  file->open.reset();
  files_->Remove(file->aside).IgnoreError();
  return CannotBeWritten(file->failure);
}

}  // namespace leeway
