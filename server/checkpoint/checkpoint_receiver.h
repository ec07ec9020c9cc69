// CheckpointReceiver: puts together the files of a checkpoint that shards bring in pieces, on shard 0's disk
// (docs/adr/0020-checkpoints-by-way-of-ps-0.md). Nobody who brings a piece says where it goes: only the two files of a
// shard of the cut under way are taken, aside at first, and no larger than such a shard's can be.
//
// Thread safety: none; it blocks on the disk. Ownership: `files` outlives it. Memory: 4 bytes per piece.
// Invariants: what was brought of a cut that is over, and not committed, is removed; a file has its name only once all
// of its bytes are there and their CRC is right.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/buffer.h"
#include "common/files.h"
#include "common/placement.h"
#include "proto/checkpoint_store.pb.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class CheckpointReceiver {
 public:
  // A .state file is no larger: windows of thousands of workers, and a manifest.
  static constexpr std::uint64_t kMostStateBytes = 256 << 20;

  // Into `directory`/step-...
  CheckpointReceiver(FileSystem* files, std::string directory) : files_(files), directory_(std::move(directory)) {}
  ~CheckpointReceiver() { Drop(); }

  // From now on files of this cut are taken (id 0: none are), for shards of `placement`.
  void Follow(const v1::Cut& cut, const Placement& placement);

  // One piece. True: with it, or before, its file is complete. Errors: as WriteCheckpointRequest says.
  absl::StatusOr<bool> Write(const v1::WriteCheckpointRequest& piece, const Buffer& bytes);

 private:
  struct File {
    std::string path;
    std::string aside;
    std::uint64_t bytes = 0;
    std::uint32_t crc = 0;
    std::vector<std::optional<std::uint32_t>> pieces;  // the CRCs of those that have come
    std::size_t missing = 0;
    std::unique_ptr<RandomWriteFile> open;  // null: complete, or failed
    absl::Status failure;
  };
  absl::Status Check(const v1::WriteCheckpointRequest& piece, const Buffer& bytes) const;
  std::uint64_t MostBytes(const v1::WriteCheckpointRequest& piece) const;
  absl::StatusOr<File*> FileOf(const v1::WriteCheckpointRequest& piece);
  absl::Status Create(const v1::WriteCheckpointRequest& piece, File* file);
  absl::Status WritePiece(const v1::WriteCheckpointRequest& piece, const Buffer& bytes, File* file);
  absl::Status Complete(File* file);
  void Drop();

  FileSystem* const files_;
  const std::string directory_;
  v1::Cut cut_;
  Placement placement_;
  std::map<std::pair<std::uint32_t, bool>, File> incoming_;  // by shard, and whether it is the state
};

}  // namespace leeway
