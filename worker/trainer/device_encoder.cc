#include "worker/trainer/device_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/status_macros.h"
#include "kernels/encodings/encoding.h"
#include "kernels/ops.h"
#include "kernels/vector_ops.h"
#include "worker/client/chunk_memory.h"

namespace leeway {
namespace {

constexpr std::size_t kAlignment = 64;  // of each chunk's bytes
constexpr std::size_t kWord = 4;        // bytes of a scale, a count, an index, a float32

std::size_t KeptOf(const PushEncoding& encoding, std::size_t count) {
  return encoding.encoding == v1::TOP_K ? TopKCount(encoding.fraction, count) : 0;
}

// Whether a block's bytes say that it could not be encoded: its scale, or the first of its values, is NaN.
bool SaysNaN(v1::Encoding encoding, std::size_t kept, const Buffer& bytes, std::size_t at) {
  float value = 0;
  bytes.CopyTo(encoding == v1::TOP_K ? at + (1 + kept) * kWord : at, sizeof value, &value);
  return std::isnan(value);
}

}  // namespace

bool DeviceEncoder::Takes(const PushEncoding& encoding) {
  return encoding.encoding == v1::INT8 || (encoding.encoding == v1::TOP_K && encoding.momentum == 0);
}

DeviceEncoder::DeviceEncoder(Backend& backend, const Placement& placement, const PushEncoding& encoding)
    : backend_(backend), placement_(placement), encoding_(encoding), numbers_(placement), tracker_(placement) {
  std::size_t offset = 0;
  for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) {
    for (std::uint32_t number = 0; number < placement.ShardChunks(shard); ++number) {
      Chunk& chunk = chunks_.emplace_back(Chunk{placement.Chunk(shard, number), offset});
      ForEachBlock(placement, chunk.run, [&](std::uint64_t, std::size_t count) {
        chunk.bytes += EncodedBytes(encoding.encoding, count, Kept(count));
      });
      offset += (chunk.bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
  }
}

absl::StatusOr<std::shared_ptr<DeviceEncoder>> DeviceEncoder::Make(Backend& backend, const Placement& placement,
                                                                   const PushEncoding& encoding, int slots) {
  std::shared_ptr<DeviceEncoder> encoder(new DeviceEncoder(backend, placement, encoding));
  RETURN_IF_ERROR(encoder->Allocate(slots));
  return encoder;
}

absl::Status DeviceEncoder::Allocate(int slots) {
  const std::size_t bytes = chunks_.back().offset + chunks_.back().bytes;
  std::uint64_t largest = 0;
  for (const Chunk& chunk : chunks_) largest = std::max(largest, placement_.RunElements(chunk.run));
  {
    MutexLock lock(return_mu_);
    ASSIGN_OR_RETURN(host_returned_, backend_.AllocateHost(largest * sizeof(float)));
    ASSIGN_OR_RETURN(returned_, backend_.Allocate(largest * sizeof(float)));
    ASSIGN_OR_RETURN(added_, backend_.NewEvent());
  }
  {
    MutexLock lock(mu_);
    ASSIGN_OR_RETURN(residual_, backend_.Allocate(placement_.elements() * sizeof(float)));
    ASSIGN_OR_RETURN(encoded_, backend_.Allocate(bytes));
    ASSIGN_OR_RETURN(stream_, backend_.NewStream());
  }
  for (int i = 0; i < slots; ++i) {
    Slot& slot = slots_.emplace_back();
    ASSIGN_OR_RETURN(slot.host, backend_.AllocateHost(bytes));
    for (std::size_t chunk = 0; chunk < chunks_.size(); ++chunk) {
      ASSIGN_OR_RETURN(auto copied, backend_.NewEvent());
      slot.copied.push_back(std::move(copied));
    }
  }
  return absl::OkStatus();
}

std::uint64_t DeviceEncoder::EstimateBytes(std::uint64_t elements, const PushEncoding& encoding, int slots) {
  return static_cast<std::uint64_t>(slots) * EncodedBytes(encoding.encoding, elements, KeptOf(encoding, elements)) +
         std::min(elements, Placement::kChunkElements) * sizeof(float);
}

std::size_t DeviceEncoder::Kept(std::size_t count) const { return KeptOf(encoding_, count); }

void DeviceEncoder::Encode(const Chunk& chunk, DevicePtr<const float> gradient) {
  VectorOps& ops = backend_.vector_ops();
  const DevicePtr<char> out = encoded_.as<char>() + chunk.offset;
  EncodedBlocks blocks{placement_.elements(), placement_.block_elements()};
  blocks.first = chunk.run.first_block;
  blocks.stride = placement_.num_shards();
  blocks.blocks = chunk.run.num_blocks;
  if (encoding_.encoding == v1::INT8) return ops.EncodeInt8(*stream_, blocks, gradient, residual_.floats(), out);
  const std::size_t last_kept = Kept(placement_.BlockSize(placement_.num_blocks() - 1));
  ops.EncodeTopK(*stream_, blocks, Kept(placement_.block_elements()), last_kept, gradient, residual_.floats(), out);
}

std::vector<ChunkId> DeviceEncoder::MarkFinal(int slot, DevicePtr<const float> gradient, std::uint64_t first,
                                              std::uint64_t count, Event& computed) {
  std::vector<ChunkId> ready = tracker_.MarkFinal(first, count);
  if (ready.empty()) return ready;
  Slot& to = slots_[Index(slot)];
  MutexLock lock(mu_);
  stream_->WaitFor(computed);
  for (const ChunkId id : ready) {
    const Chunk& chunk = chunks_[numbers_[id]];
    Encode(chunk, gradient);
    backend_.CopyToHost(*stream_, to.host.as<char>() + chunk.offset, encoded_.as<char>() + chunk.offset, chunk.bytes);
    stream_->Record(*to.copied[numbers_[id]]);
  }
  return ready;
}

Buffer DeviceEncoder::Bytes(int slot, ChunkId id) const {
  const Chunk& chunk = chunks_[numbers_[id]];
  return Buffer::Wrap(shared_from_this(), slots_[Index(slot)].host.as<char>() + chunk.offset, chunk.bytes);
}

void DeviceEncoder::Return(ChunkId id, const Buffer& bytes) {
  const Chunk& chunk = chunks_[numbers_[id]];
  struct Part {
    std::uint64_t begin;
    std::size_t at, count;
  };
  std::vector<Part> parts;
  MutexLock lock(return_mu_);
  if (!added_->Synchronize().ok()) return;
  std::size_t byte = 0, element = 0;
  ForEachBlock(placement_, chunk.run, [&](std::uint64_t begin, std::size_t count) {
    if (!SaysNaN(encoding_.encoding, Kept(count), bytes, byte)) parts.push_back({begin, element, count});
    // As the device wrote it. Zeros for what a top_k does not name: to add them changes no bit, for no sum is ever -0.
    byte = DecodeBlock(encoding_.encoding, bytes, byte, count, host_returned_.floats() + element).value();
    element += count;
  });
  MutexLock order(mu_);
  backend_.CopyToDevice(*stream_, returned_.floats(), host_returned_.floats(), element * sizeof(float));
  for (const Part& part : parts) {
    backend_.ops().Axpy(*stream_, part.count, 1, returned_.floats() + part.at, residual_.floats() + part.begin);
  }
  stream_->Record(*added_);
}

absl::StatusOr<std::vector<float>> DeviceEncoder::Residual() {
  std::vector<float> residual(placement_.elements());
  MutexLock lock(mu_);
  backend_.CopyToHost(*stream_, residual.data(), residual_.floats(), residual.size() * sizeof(float));
  RETURN_IF_ERROR(stream_->Synchronize());
  return residual;
}

}  // namespace leeway
