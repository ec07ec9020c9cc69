#include "server/checkpoint/shard_checkpoint_writer.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "server/checkpoint/shard_state.h"

namespace leeway {
namespace {

// Of one process no two are the same: a checkpoint that was given up may still be written when the next one of the same
// step begins, and must not write into its files.
std::string AsideName(const std::string& path) {
  static std::atomic<std::uint64_t> made = 0;
  return absl::StrCat(path, ".", ++made, ".tmp");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardCheckpointWriter>> ShardCheckpointWriter::Create(FileSystem& files,
                                                                                     const std::string& directory,
                                                                                     ShardFile shard_file) {
  if (files.Exists(absl::StrCat(directory, "/", kCommittedFileName))) {
    return absl::AlreadyExistsError(absl::StrCat(directory, " holds a committed checkpoint"));
  }
  RETURN_IF_ERROR(files.MakeDirectories(directory));
  const std::string path =
      absl::StrCat(directory, "/", TensorsFileName(shard_file.shard, shard_file.placement.num_shards()));
  const std::string aside = AsideName(path);
  ASSIGN_OR_RETURN(SafetensorsPlan plan, PlanShardFile(path, shard_file));
  ASSIGN_OR_RETURN(std::unique_ptr<RandomWriteFile> file, files.CreateSized(aside, plan.file_size));
  std::unique_ptr<ShardCheckpointWriter> writer(
      new ShardCheckpointWriter(files, directory, aside, std::move(shard_file), std::move(plan), std::move(file)));
  RETURN_IF_ERROR(writer->Write(0, writer->plan_.begin.data(), writer->plan_.begin.size()));
  return writer;
}

ShardCheckpointWriter::ShardCheckpointWriter(FileSystem& files, std::string directory, std::string aside,
                                             ShardFile shard_file, SafetensorsPlan plan,
                                             std::unique_ptr<RandomWriteFile> file)
    : files_(files),
      directory_(std::move(directory)),
      shard_file_(std::move(shard_file)),
      plan_(std::move(plan)),
      path_(absl::StrCat(directory_, "/", TensorsFileName(shard_file_.shard, shard_file_.placement.num_shards()))),
      aside_(std::move(aside)),
      file_(std::move(file)),
      crcs_(plan_.file_size),
      steps_(shard_file_.placement.ShardBlocks(shard_file_.shard)) {}

ShardCheckpointWriter::~ShardCheckpointWriter() {
  if (file_ == nullptr) return;
  file_.reset();
  files_.Remove(aside_).IgnoreError();  // it takes room; what made it fail has been told
}

absl::Status ShardCheckpointWriter::Write(std::uint64_t offset, const void* data, std::size_t size) {
  // The CRC is taken from memory: what the disk makes of it is found out when it is read.
  if (absl::Status status = crcs_.Add(offset, data, size); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": ", std::string(status.message())));
  }
  return file_->WriteAt(offset, data, size);
}

absl::Status ShardCheckpointWriter::WriteChunk(const ChunkRun& run, const float* weights,
                                               absl::Span<const float* const> slots,
                                               absl::Span<const std::uint64_t> steps) {
  const Placement& placement = shard_file_.placement;
  const std::uint64_t local = run.first_block / placement.num_shards();
  if (run.first_block % placement.num_shards() != shard_file_.shard || local > steps_.size() ||
      run.num_blocks > steps_.size() - local) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": ", run.num_blocks, " blocks from ", run.first_block,
                                                   " are not this shard's, which has ", steps_.size()));
  }
  if (slots.size() != shard_file_.slots || steps.size() != run.num_blocks) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": ", slots.size(), " slots and ", steps.size(),
                                                   " steps; it takes ", shard_file_.slots, " and ", run.num_blocks));
  }
  const std::uint64_t begin = local * placement.block_elements() * sizeof(float);
  const std::size_t bytes = placement.RunElements(run) * sizeof(float);
  RETURN_IF_ERROR(Write(plan_.tensors[1].offset + begin, weights, bytes));
  for (std::size_t i = 0; i < slots.size(); ++i) {
    RETURN_IF_ERROR(Write(plan_.tensors[2 + i].offset + begin, slots[i], bytes));
  }
  for (std::size_t i = 0; i < steps.size(); ++i) steps_[local + i] = static_cast<std::int64_t>(steps[i]);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::CheckpointFile>> ShardCheckpointWriter::Finish(const v1::ShardState& state,
                                                                              bool durable) {
  RETURN_IF_ERROR(Write(plan_.tensors[0].offset, steps_.data(), steps_.size() * sizeof(std::int64_t)));
  std::vector<v1::CheckpointFile> written(2);
  written[0].set_name(TensorsFileName(shard_file_.shard, shard_file_.placement.num_shards()));
  if (absl::Status status = crcs_.Finish(&written[0]); !status.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(path_, ": ", std::string(status.message())));
  }
  if (durable) RETURN_IF_ERROR(file_->Sync());
  RETURN_IF_ERROR(file_->Close());
  RETURN_IF_ERROR(files_.Rename(aside_, path_));
  file_.reset();
  const std::string body = EncodeShardState(state);
  written[1].set_name(StateFileName(shard_file_.shard, shard_file_.placement.num_shards()));
  written[1].set_bytes(body.size());
  written[1].set_crc32c(Crc32c(body.data(), body.size()));
  // Syncs the directory, and so the other file's name.
  RETURN_IF_ERROR(WriteAtomically(files_, absl::StrCat(directory_, "/", written[1].name()), body));
  return written;
}

}  // namespace leeway
