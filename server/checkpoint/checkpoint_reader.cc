#include "server/checkpoint/checkpoint_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/checkpoint/shard_state.h"

namespace leeway {

absl::StatusOr<SafetensorsHeader> ReadShardHeader(CheckedFile& file, const Checkpoint& checkpoint,
                                                  std::uint32_t shard) {
  absl::StatusOr<SafetensorsHeader> header =
      ReadSafetensorsHeader(file.path(), file, {SafetensorsType::kF32, SafetensorsType::kI64});
  if (absl::IsInvalidArgument(header.status())) return absl::DataLossError(header.status().message());
  RETURN_IF_ERROR(header.status());
  RETURN_IF_ERROR(CheckShardFile(file.path(), *header, ShardFileOf(checkpoint, shard)));
  return header;
}

absl::StatusOr<std::unique_ptr<CheckpointReader>> CheckpointReader::Open(FileSystem& files,
                                                                         const std::string& directory) {
  ASSIGN_OR_RETURN(Checkpoint checkpoint, ReadCheckpointIndex(files, directory));
  return std::unique_ptr<CheckpointReader>(new CheckpointReader(files, directory, std::move(checkpoint)));
}

CheckpointReader::CheckpointReader(FileSystem& files, std::string directory, Checkpoint checkpoint)
    : files_(files),
      directory_(std::move(directory)),
      checkpoint_(std::move(checkpoint)),
      sources_(checkpoint_.index.num_shards()) {}

absl::StatusOr<const CheckpointReader::Source*> CheckpointReader::Open(std::uint32_t shard) {
  Source& source = sources_[shard];
  if (source.file == nullptr) {
    ASSIGN_OR_RETURN(std::unique_ptr<CheckedFile> file,
                     CheckedFile::Open(files_, directory_, checkpoint_.tensors_file(shard)));
    ASSIGN_OR_RETURN(source.header, ReadShardHeader(*file, checkpoint_, shard));
    source.file = std::move(file);
  }
  return &source;
}

absl::Status CheckpointReader::ReadWithin(std::uint32_t shard, std::uint32_t tensor, std::uint64_t first,
                                          absl::Span<float> out) {
  ASSIGN_OR_RETURN(const Source* source, Open(shard));
  const SafetensorsTensor* entry = source->header.Find(TensorName(tensor));
  return source->file->ReadAt(entry->offset + first * sizeof(float), out.size() * sizeof(float), out.data());
}

absl::Status CheckpointReader::Read(std::uint32_t tensor, std::uint64_t first, absl::Span<float> out) {
  const Placement& saved = checkpoint_.placement;
  while (!out.empty()) {
    const std::uint64_t block = first / saved.block_elements(), within = first % saved.block_elements();
    const std::size_t part = std::min<std::size_t>(out.size(), saved.BlockSize(block) - within);
    const auto shard = static_cast<std::uint32_t>(block % saved.num_shards());
    const std::uint64_t local = block / saved.num_shards();
    RETURN_IF_ERROR(ReadWithin(shard, tensor, local * saved.block_elements() + within, out.first(part)));
    first += part;
    out.remove_prefix(part);
  }
  return absl::OkStatus();
}

absl::Status CheckpointReader::ReadRun(std::uint32_t tensor, const Placement& placement, const ChunkRun& run,
                                       float* out) {
  const Placement& saved = checkpoint_.placement;
  if (placement.elements() != saved.elements()) {
    return absl::InvalidArgumentError(absl::StrCat(directory_, " is of a model with ", saved.elements(),
                                                   " elements; wanted: one with ", placement.elements()));
  }
  if (placement.num_shards() == saved.num_shards() && run.num_blocks > 0) {
    // The same cut: the run's blocks lie one after another in one file.
    const auto shard = static_cast<std::uint32_t>(run.first_block % saved.num_shards());
    const std::uint64_t local = run.first_block / saved.num_shards();
    return ReadWithin(shard, tensor, local * saved.block_elements(),
                      absl::MakeSpan(out, static_cast<std::size_t>(saved.RunElements(run))));
  }
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
    const std::size_t size = placement.BlockSize(block);
    RETURN_IF_ERROR(Read(tensor, placement.BlockBegin(block), absl::MakeSpan(out, size)));
    out += size;
  }
  return absl::OkStatus();
}

absl::Status CheckpointReader::LoadSteps() {
  if (!steps_.empty()) return absl::OkStatus();
  const Placement& saved = checkpoint_.placement;
  std::vector<std::uint64_t> steps(saved.num_blocks());
  for (std::uint32_t shard = 0; shard < saved.num_shards(); ++shard) {
    ASSIGN_OR_RETURN(const Source* source, Open(shard));
    std::vector<std::int64_t> values(saved.ShardBlocks(shard));
    RETURN_IF_ERROR(source->file->ReadAt(source->header.Find("steps")->offset, values.size() * sizeof(std::int64_t),
                                         values.data()));
    for (std::size_t local = 0; local < values.size(); ++local) {
      if (values[local] < 0) {
        return absl::DataLossError(
            absl::StrCat(source->file->path(), ": block ", local, " of its steps has made ", values[local]));
      }
      steps[shard + local * saved.num_shards()] = static_cast<std::uint64_t>(values[local]);
    }
  }
  steps_ = std::move(steps);
  return absl::OkStatus();
}

absl::Status CheckpointReader::ReadSteps(const Placement& placement, const ChunkRun& run, std::uint64_t* out) {
  const Placement& saved = checkpoint_.placement;
  if (placement.elements() != saved.elements()) {
    return absl::InvalidArgumentError(absl::StrCat(directory_, " is of a model with ", saved.elements(),
                                                   " elements; wanted: one with ", placement.elements()));
  }
  RETURN_IF_ERROR(LoadSteps());
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
    const std::uint64_t begin = placement.BlockBegin(block), last = begin + placement.BlockSize(block) - 1;
    out[i] = *std::max_element(steps_.begin() + static_cast<std::ptrdiff_t>(begin / saved.block_elements()),
                               steps_.begin() + static_cast<std::ptrdiff_t>(last / saved.block_elements() + 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ShardState> CheckpointReader::ReadState(std::uint32_t shard) {
  return ReadShardState(files_, directory_, checkpoint_.index, shard);
}

}  // namespace leeway
