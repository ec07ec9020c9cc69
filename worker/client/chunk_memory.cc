#include "worker/client/chunk_memory.h"

#include "absl/strings/str_cat.h"

namespace leeway {

v1::BlockRun RunToProto(const ChunkRun& run) {
  v1::BlockRun proto;
  proto.set_first_block(run.first_block);
  proto.set_num_blocks(run.num_blocks);
  return proto;
}

Buffer WrapRun(const Placement& placement, const ChunkRun& run, const std::shared_ptr<const void>& owner,
               const float* vector) {
  if (run.num_blocks == 0) return {};
  if (placement.num_shards() == 1) {
    return Buffer::Wrap(owner, vector + placement.BlockBegin(run.first_block),
                        placement.RunElements(run) * sizeof(float));
  }
  Buffer payload;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
    payload.Append(Buffer::Slice{reinterpret_cast<const char*>(vector + placement.BlockBegin(block)),
                                 placement.BlockSize(block) * sizeof(float), owner});
  }
  return payload;
}

absl::Status UnpackRun(const Placement& placement, const ChunkRun& run, const Buffer& payload, float* vector) {
  const std::uint64_t expected = placement.RunElements(run) * sizeof(float);
  if (payload.size() != expected) {
    return absl::InternalError(absl::StrCat("the answer for blocks ", run.first_block, " (", run.num_blocks,
                                            " of them) has ", payload.size(), " bytes; expected are ", expected));
  }
  std::size_t offset = 0;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
    const std::size_t bytes = placement.BlockSize(block) * sizeof(float);
    payload.CopyTo(offset, bytes, vector + placement.BlockBegin(block));
    offset += bytes;
  }
  return absl::OkStatus();
}

}  // namespace leeway
