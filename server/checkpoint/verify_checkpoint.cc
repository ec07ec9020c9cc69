#include "server/checkpoint/verify_checkpoint.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/checkpoint/checked_file.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/shard_state.h"

namespace leeway {
namespace {

std::uint64_t SizeOf(FileSystem& files, const std::string& path) {
  const auto open = files.Open(path);
  return open.ok() ? (*open)->Size() : 0;
}

}  // namespace

std::vector<CheckpointDamage> VerifyCheckpoint(FileSystem& files, const std::string& directory) {
  std::vector<CheckpointDamage> damages;
  const auto add = [&](const std::string& file, std::uint64_t offset, const absl::Status& status) {
    damages.push_back({file, offset, std::string(status.message()), status.code()});
  };
  const absl::StatusOr<Checkpoint> checkpoint = ReadCheckpointIndex(files, directory);
  if (!checkpoint.ok()) {
    const bool mark = absl::IsNotFound(checkpoint.status()) ||
                      absl::StrContains(checkpoint.status().message(), absl::StrCat("/", kCommittedFileName, ":"));
    add(mark ? kCommittedFileName : kIndexFileName, 0, checkpoint.status());
    return damages;
  }
  for (std::uint32_t shard = 0; shard < checkpoint->index.num_shards(); ++shard) {
    const v1::CheckpointFile& tensors = checkpoint->tensors_file(shard);
    const auto file = CheckedFile::Open(files, directory, tensors);
    if (!file.ok()) {
      const std::uint64_t size = SizeOf(files, absl::StrCat(directory, "/", tensors.name()));
      add(tensors.name(), std::min<std::uint64_t>(size, tensors.bytes()), file.status());
    } else {
      const std::size_t before = damages.size();
      for (std::size_t piece = 0; piece < (*file)->pieces(); ++piece) {
        const absl::Status status = (*file)->CheckPiece(piece);
        if (!status.ok()) add(tensors.name(), piece * kPieceBytes, status);
      }
      // A whole file may still be another one's.
      if (damages.size() == before) {
        const auto header = ReadShardHeader(**file, *checkpoint, shard);
        if (!header.ok()) add(tensors.name(), 0, header.status());
      }
    }
    const v1::CheckpointFile& state = checkpoint->state_file(shard);
    const auto read = ReadShardState(files, directory, checkpoint->index, shard);
    if (read.ok()) continue;
    const std::uint64_t size = SizeOf(files, absl::StrCat(directory, "/", state.name()));
    add(state.name(), size == state.bytes() ? 0 : std::min<std::uint64_t>(size, state.bytes()), read.status());
  }
  return damages;
}

}  // namespace leeway
