#include "server/checkpoint/piece_crcs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {

absl::Status PieceCrcs::Claim(std::uint64_t offset, std::uint64_t size) {
  if (offset > file_size_ || size > file_size_ - offset) {
    return absl::InvalidArgumentError(
        absl::StrCat("bytes [", offset, ", ", offset + size, ") of a file that has ", file_size_));
  }
  MutexLock lock(mu_);
  const auto next = claimed_.lower_bound(offset);
  const bool into_next = next != claimed_.end() && next->first < offset + size;
  const bool from_before = next != claimed_.begin() && std::prev(next)->second > offset;
  if (into_next || from_before) {
    return absl::InvalidArgumentError(absl::StrCat("bytes [", offset, ", ", offset + size, ") overlap earlier ones"));
  }
  claimed_[offset] = offset + size;
  return absl::OkStatus();
}

absl::Status PieceCrcs::Add(std::uint64_t offset, const void* data, std::uint64_t size) {
  if (size == 0) return absl::OkStatus();
  RETURN_IF_ERROR(Claim(offset, size));
  std::vector<std::pair<std::uint64_t, Part>> parts;
  const auto* bytes = static_cast<const unsigned char*>(data);
  while (size > 0) {
    const std::uint64_t part = std::min(size, kPieceBytes - offset % kPieceBytes);
    parts.push_back({offset, {part, Crc32c(bytes, part)}});
    offset += part;
    bytes += part;
    size -= part;
  }
  MutexLock lock(mu_);
  parts_.insert(parts.begin(), parts.end());
  return absl::OkStatus();
}

absl::Status PieceCrcs::Finish(v1::CheckpointFile* file) {
  MutexLock lock(mu_);
  file->set_bytes(file_size_);
  file->clear_piece_crc32c();
  std::uint64_t end = 0;
  std::uint32_t whole = 0;
  for (const auto& [offset, part] : parts_) {
    if (offset != end) break;
    if (offset % kPieceBytes == 0) {
      file->add_piece_crc32c(part.crc);
    } else {
      std::uint32_t& piece = (*file->mutable_piece_crc32c())[file->piece_crc32c_size() - 1];
      piece = CombineCrc32c(piece, part.crc, part.size);
    }
    whole = CombineCrc32c(whole, part.crc, part.size);
    end += part.size;
  }
  file->set_crc32c(whole);
  if (end == file_size_) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("byte ", end, " of ", file_size_, " was not written"));
}

}  // namespace leeway
