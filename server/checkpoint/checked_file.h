// CheckedFile: a .safetensors file of a checkpoint that is read in any parts; none is given out before the CRC of the
// piece that it belongs to was found right.
//
// Thread safety: any thread. Ownership: it keeps one piece (4 MiB) of the file, for reads that are not whole pieces:
// who reads on where he was reads each piece once. Whole pieces go straight to the caller's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/mutex.h"
#include "proto/checkpoint.pb.h"

namespace leeway {

class CheckedFile final : public RandomAccessFile {
 public:
  // `info` is of an index that was found consistent. DATA_LOSS, with the path: the file is missing or has another size.
  static absl::StatusOr<std::unique_ptr<CheckedFile>> Open(FileSystem& files, const std::string& directory,
                                                           const v1::CheckpointFile& info);

  std::uint64_t Size() const override { return info_.bytes(); }
  // DATA_LOSS, with path, piece and both CRCs: damage.
  absl::Status ReadAt(std::uint64_t offset, std::size_t size, void* out) override LEEWAY_EXCLUDES(mu_);

  std::size_t pieces() const { return static_cast<std::size_t>(info_.piece_crc32c_size()); }
  // Reads piece `piece` to see whether it is whole.
  absl::Status CheckPiece(std::size_t piece) LEEWAY_EXCLUDES(mu_);
  const std::string& path() const { return path_; }

 private:
  CheckedFile(std::string path, v1::CheckpointFile info, std::unique_ptr<RandomAccessFile> file)
      : path_(std::move(path)), info_(std::move(info)), file_(std::move(file)) {}
  std::size_t PieceSize(std::size_t piece) const;
  absl::Status ReadPiece(std::size_t piece, char* out) const;
  absl::Status Load(std::size_t piece) LEEWAY_REQUIRES(mu_);

  const std::string path_;
  const v1::CheckpointFile info_;
  const std::unique_ptr<RandomAccessFile> file_;
  Mutex mu_;
  std::optional<std::size_t> loaded_ LEEWAY_GUARDED_BY(mu_);
  std::vector<char> bytes_ LEEWAY_GUARDED_BY(mu_);  // of that piece
};

}  // namespace leeway
