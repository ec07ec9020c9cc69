#include "server/checkpoint/checked_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {

absl::StatusOr<std::unique_ptr<CheckedFile>> CheckedFile::Open(FileSystem& files, const std::string& directory,
                                                               const v1::CheckpointFile& info) {
  const std::string path = absl::StrCat(directory, "/", info.name());
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = files.Open(path);
  if (absl::IsNotFound(file.status())) return absl::DataLossError(absl::StrCat(path, ": it is missing"));
  RETURN_IF_ERROR(file.status());
  if ((*file)->Size() != info.bytes()) {
    return absl::DataLossError(
        absl::StrCat(path, ": it has ", (*file)->Size(), " bytes, ", kIndexFileName, " says ", info.bytes()));
  }
  return std::unique_ptr<CheckedFile>(new CheckedFile(path, info, *std::move(file)));
}

std::size_t CheckedFile::PieceSize(std::size_t piece) const {
  return static_cast<std::size_t>(std::min(kPieceBytes, info_.bytes() - piece * kPieceBytes));
}

absl::Status CheckedFile::ReadPiece(std::size_t piece, char* out) const {
  const std::uint64_t begin = piece * kPieceBytes;
  const std::size_t size = PieceSize(piece);
  RETURN_IF_ERROR(file_->ReadAt(begin, size, out));
  const std::uint32_t crc = Crc32c(out, size), wanted = info_.piece_crc32c(static_cast<int>(piece));
  if (crc == wanted) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat("%s: damaged in bytes %d to %d: their CRC32C is %08x, %s says %08x", path_,
                                             begin, begin + size - 1, crc, kIndexFileName, wanted));
}

absl::Status CheckedFile::Load(std::size_t piece) {
  if (loaded_ == piece) return absl::OkStatus();
  loaded_.reset();
  bytes_.resize(PieceSize(piece));
  RETURN_IF_ERROR(ReadPiece(piece, bytes_.data()));
  loaded_ = piece;
  return absl::OkStatus();
}

absl::Status CheckedFile::CheckPiece(std::size_t piece) {
  MutexLock lock(mu_);
  return Load(piece);
}

absl::Status CheckedFile::ReadAt(std::uint64_t offset, std::size_t size, void* out) {
  if (offset > info_.bytes() || size > info_.bytes() - offset) {
    return absl::DataLossError(absl::StrCat("read ", path_, ": it ends at byte ", info_.bytes()));
  }
  char* to = static_cast<char*>(out);
  while (size > 0) {
    const std::size_t piece = offset / kPieceBytes, within = offset % kPieceBytes;
    const std::size_t part = std::min(size, PieceSize(piece) - within);
    if (part == PieceSize(piece)) {
      RETURN_IF_ERROR(ReadPiece(piece, to));
    } else {
      MutexLock lock(mu_);
      RETURN_IF_ERROR(Load(piece));
      std::memcpy(to, bytes_.data() + within, part);
    }
    to += part;
    offset += part;
    size -= part;
  }
  return absl::OkStatus();
}

}  // namespace leeway
