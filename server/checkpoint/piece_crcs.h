// PieceCrcs: the CRC32C of a file, and of each of its 4 MiB pieces, gathered while the file is written in any order.
//
// Thread safety: Add from any threads; Finish when they are back.
#pragma once

#include <cstdint>
#include <map>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "proto/checkpoint.pb.h"

namespace leeway {

class PieceCrcs {
 public:
  explicit PieceCrcs(std::uint64_t file_size) : file_size_(file_size) {}

  // The file's bytes [offset, offset + size) are `data`'s. INVALID_ARGUMENT: some of them had been added, or lie behind
  // the file's end.
  absl::Status Add(std::uint64_t offset, const void* data, std::uint64_t size) LEEWAY_EXCLUDES(mu_);

  // Fills in `file`'s size and CRCs. FAILED_PRECONDITION: bytes have not been added.
  absl::Status Finish(v1::CheckpointFile* file) LEEWAY_EXCLUDES(mu_);

 private:
  struct Part {  // of one piece
    std::uint64_t size = 0;
    std::uint32_t crc = 0;
  };
  absl::Status Claim(std::uint64_t offset, std::uint64_t size) LEEWAY_EXCLUDES(mu_);

  const std::uint64_t file_size_;
  Mutex mu_;
  std::map<std::uint64_t, std::uint64_t> claimed_ LEEWAY_GUARDED_BY(mu_);  // begin to end, of each Add
  std::map<std::uint64_t, Part> parts_ LEEWAY_GUARDED_BY(mu_);             // by offset
};

}  // namespace leeway
