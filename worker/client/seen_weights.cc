#include "worker/client/seen_weights.h"

#include <cstring>

#include "common/status_macros.h"
#include "kernels/encodings/encoding.h"
#include "worker/client/chunk_memory.h"

namespace leeway {

SeenWeights::SeenWeights(const Placement& placement)
    : placement_(placement), numbers_(placement), weights_(placement.elements()) {
  for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) {
    for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) {
      chunks_.push_back(std::make_unique<Chunk>());
      chunks_.back()->run = placement.Chunk(shard, chunk);
    }
  }
}

void SeenWeights::Forget() {
  for (const std::unique_ptr<Chunk>& chunk : chunks_) {
    MutexLock lock(chunk->mu);
    chunk->sequence = 0;
  }
}

std::uint64_t SeenWeights::Base(ChunkId id) {
  Chunk& chunk = *chunks_[numbers_[id]];
  MutexLock lock(chunk.mu);
  return chunk.sequence;
}

absl::StatusOr<bool> SeenWeights::Take(ChunkId id, std::uint64_t base, const v1::PullReply& reply,
                                       const Buffer& payload, float* vector) {
  Chunk& chunk = *chunks_[numbers_[id]];
  MutexLock lock(chunk.mu);
  const bool known = chunk.sequence != 0 && chunk.generation == reply.generation();
  // (Values without a number are new: the server keeps nothing for this worker.)
  const bool old = known && reply.sequence() != 0 && reply.sequence() < chunk.sequence;
  if (!old && reply.delta()) {
    if (!known || chunk.sequence != base) {
      chunk.sequence = 0;
      return false;
    }
    RETURN_IF_ERROR(CheckRunSize(placement_, chunk.run, v1::INT8, payload));
    std::size_t at = 0;
    ForEachBlock(placement_, chunk.run, [&](std::uint64_t begin, std::size_t count) {
      at = DecodeAddBlock(v1::INT8, payload, at, count, &weights_[begin]).value();  // its size is right
    });
  } else if (!old) {
    RETURN_IF_ERROR(UnpackRun(placement_, chunk.run, v1::F32, payload, weights_.data()));
  }
  if (!old) {
    chunk.sequence = reply.sequence();
    chunk.generation = reply.generation();
  }
  ForEachBlock(placement_, chunk.run, [&](std::uint64_t begin, std::size_t count) {
    std::memcpy(vector + begin, &weights_[begin], count * sizeof(float));
  });
  return true;
}

}  // namespace leeway
