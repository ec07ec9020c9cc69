#include "cli/checkpoint/reshard.h"

#include <memory>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/shard_checkpoint_writer.h"
#include "server/checkpoint/shard_state.h"

namespace leeway {
namespace {

// A reader for each tensor, so that each reads its pieces once though chunks need all tensors in turn.
using Readers = std::vector<std::unique_ptr<CheckpointReader>>;

absl::StatusOr<Readers> OpenReaders(FileSystem& files, const std::string& source) {
  Readers readers;
  do {
    ASSIGN_OR_RETURN(std::unique_ptr<CheckpointReader> reader, CheckpointReader::Open(files, source));
    readers.push_back(std::move(reader));
  } while (readers.size() < readers[0]->tensors());
  return readers;
}

absl::Status CopyShard(const Readers& readers, const Placement& placement, std::uint32_t shard,
                       ShardCheckpointWriter& writer) {
  std::vector<std::vector<float>> values(readers.size());
  std::vector<std::uint64_t> steps;
  for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) {
    const ChunkRun run = placement.Chunk(shard, chunk);
    std::vector<const float*> slots;
    for (std::uint32_t tensor = 0; tensor < readers.size(); ++tensor) {
      values[tensor].resize(placement.RunElements(run));
      RETURN_IF_ERROR(readers[tensor]->ReadRun(tensor, placement, run, values[tensor].data()));
      if (tensor > 0) slots.push_back(values[tensor].data());
    }
    steps.resize(run.num_blocks);
    RETURN_IF_ERROR(readers[0]->ReadSteps(placement, run, steps.data()));
    if (run.num_blocks > 0) RETURN_IF_ERROR(writer.WriteChunk(run, values[0].data(), slots, steps));
  }
  return absl::OkStatus();
}

absl::Status WriteAll(FileSystem& files, const Readers& readers, const Placement& placement, const std::string& path) {
  const Checkpoint& saved = readers[0]->checkpoint();
  std::vector<v1::ShardState> states;
  for (std::uint32_t shard = 0; shard < saved.index.num_shards(); ++shard) {
    ASSIGN_OR_RETURN(v1::ShardState state, readers[0]->ReadState(shard));
    states.push_back(std::move(state));
  }
  v1::CheckpointIndex index = saved.index;
  index.set_num_shards(placement.num_shards());
  index.set_block_elements(placement.block_elements());
  index.clear_files();
  for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) {
    ShardFile shard_file = ShardFileOf(saved, shard);
    shard_file.placement = placement;
    ASSIGN_OR_RETURN(const auto writer, ShardCheckpointWriter::Create(files, path, std::move(shard_file)));
    RETURN_IF_ERROR(CopyShard(readers, placement, shard, *writer));
    ASSIGN_OR_RETURN(const std::vector<v1::CheckpointFile> written,
                     writer->Finish(ReshardedState(states, shard, placement)));
    for (const v1::CheckpointFile& file : written) *index.add_files() = file;
  }
  return CommitCheckpoint(files, path, index);
}

}  // namespace

absl::StatusOr<std::string> ReshardCheckpoint(FileSystem& files, const std::string& source, std::uint32_t num_shards,
                                              const std::string& directory) {
  ASSIGN_OR_RETURN(const Readers readers, OpenReaders(files, source));
  const Checkpoint& saved = readers[0]->checkpoint();
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(saved.placement.elements(), num_shards));
  ASSIGN_OR_RETURN(const std::string path, BeginCheckpoint(files, directory, saved.index.step()));
  const absl::Status status = WriteAll(files, readers, placement, path);
  if (status.ok()) return path;
  RemoveCheckpoint(files, path).IgnoreError();  // the first error is the one to tell
  return status;
}

}  // namespace leeway
