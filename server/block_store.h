// BlockStore: one shard's weights and optimizer slots, in blocks, each with its own lock and step counter.
//
// Thread safety: every method, from any thread. Blocks are locked one at a time.
// Ownership: reference-counted. A pull's reply refers to the weights where they lie and keeps the store
// alive, so nothing dangles when a restore replaces it.
//
// THE DELIBERATE RACE. ReadLive hands out memory that Apply may be writing to, without a lock: a pull shows,
// element by element, values from before or after an update. That is what asynchronous SGD is, and the
// protocol allows newer values than it promises. What must not be seen is a torn float: weights are aligned
// 4-byte objects, which every supported CPU stores in one piece, whatever the width of the vector store.
// Who needs one moment's values (evaluation, export) uses ReadCopy, under the block's lock.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/buffer.h"
#include "common/manifest.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "kernels/optimizers/optimizer.h"
#include "proto/parameter_server.pb.h"
#include "proto/policy.pb.h"

namespace leeway {

class BlockStore : public std::enable_shared_from_this<BlockStore> {
 public:
  // Zero weights, fresh slots, for shard `shard`. RESOURCE_EXHAUSTED: no memory for them (the message says
  // how much); INVALID_ARGUMENT: an impossible optimizer configuration.
  static absl::StatusOr<std::shared_ptr<BlockStore>> Make(const Manifest& manifest, const Placement& placement,
                                                          std::uint32_t shard, const v1::Policy& policy);

  // Bytes that a store for this shard allocates: weights and slots.
  static std::uint64_t MemoryBytes(const Placement& placement, std::uint32_t shard, int slots);

  const Placement& placement() const { return placement_; }
  std::size_t num_blocks() const { return blocks_.size(); }
  std::uint64_t memory_bytes() const { return MemoryBytes(placement_, shard_, static_cast<int>(slots_.size())); }
  // The blocks of `run` as (local index of its first block, count). Requires: the run is this shard's.
  std::size_t LocalIndex(std::uint64_t block) const;

  void FillInitialValues(std::uint64_t seed, const Manifest& manifest);

  // The weights of `run` where they lie (see above), as one slice.
  Buffer ReadLive(const ChunkRun& run) const;
  // A copy in this encoding (not TOP_K), each block made under its lock.
  Buffer ReadCopy(const ChunkRun& run, v1::Encoding encoding = v1::F32);
  // Block `i` of `run`, copied to `out` under its lock.
  void ReadBlock(const ChunkRun& run, std::uint32_t i, float* out);

  // Sets weights; `payload` holds the run's floats.
  void Write(const ChunkRun& run, const Buffer& payload);

  // One optimizer step on each block of `run` with the run's gradient, a payload that CheckPayload (server/payload.h)
  // found good. `rate` before the groups' factors.
  void Apply(const ChunkRun& run, v1::Encoding encoding, const Buffer& gradient, double rate);

  // The weights that a gradient was computed on: the blocks of `run`, in F32 or BF16.
  struct Base {
    ChunkRun run;
    v1::Encoding encoding = v1::F32;
    Buffer values;
  };
  // As Apply, but the gradient of each block that `bases` have is corrected first for what its weights have moved since
  // (kernels/correct_delay.h). With `keep` returns what the steps were made with, the whole run in F32.
  Buffer ApplyCorrected(const ChunkRun& run, v1::Encoding encoding, const Buffer& gradient,
                        absl::Span<const Base> bases, double lambda, double rate, bool keep);

  struct Term {
    float weight = 0;  // of this contribution in the mean
    v1::Encoding encoding = v1::F32;
    Buffer gradient;  // as Apply's
  };
  // One optimizer step on each block of `run` with sum(weight * gradient), added up in the terms' order.
  void ApplySum(const ChunkRun& run, absl::Span<const Term> terms, double rate);

  // Held while an update of chunk `chunk` of this shard gets its place in the journal and is made: so the journal's
  // order is the order of the updates.
  Mutex& ChunkMutex(std::uint32_t chunk) { return chunk_mu_[chunk]; }

  // The weights and the slots of `run` where they lie, for checkpoints: read under ChunkMutex while updates may come,
  // written before there are any.
  float* Weights(const ChunkRun& run) { return weights_.get() + blocks_[LocalIndex(run.first_block)]->offset; }
  float* Slot(std::size_t slot, const ChunkRun& run) {
    return slots_[slot].get() + blocks_[LocalIndex(run.first_block)]->offset;
  }
  std::size_t num_slots() const { return slots_.size(); }
  void SetSteps(std::size_t local, std::uint64_t steps);

  // How many optimizer steps block `local` has made.
  std::uint64_t Steps(std::size_t local);

 private:
  // A piece of a block that belongs to one parameter group.
  struct Segment {
    std::uint32_t begin = 0;
    std::uint32_t count = 0;
    double rate_factor = 1;
    double weight_decay = 0;
    double penalty_factor = 1;
  };
  struct Block {
    Mutex mu;
    std::uint64_t offset = 0;  // into weights_
    std::uint32_t size = 0;
    std::vector<Segment> segments;
    std::uint64_t steps LEEWAY_GUARDED_BY(mu) = 0;
  };
  struct Free {
    void operator()(float* memory) const;
  };
  using Floats = std::unique_ptr<float[], Free>;

  BlockStore(const Placement& placement, std::uint32_t shard)
      : placement_(placement), shard_(shard), chunk_mu_(placement.ShardChunks(shard)) {}
  static Floats Allocate(std::uint64_t count);
  void CutIntoSegments(const Manifest& manifest, const v1::Policy& policy);
  template <typename Take>
  void Step(Block& block, double rate, Take take) LEEWAY_REQUIRES(block.mu);
  void StepDense(Block& block, const float* gradient, double rate) LEEWAY_REQUIRES(block.mu);
  // What the first of `bases` that has this block says of it; null: none has.
  const float* BaseOf(std::uint64_t block, absl::Span<const Base> bases) const;
  Block& At(const ChunkRun& run, std::size_t i) { return *blocks_[LocalIndex(run.first_block) + i]; }

  const Placement placement_;
  const std::uint32_t shard_;
  std::deque<Mutex> chunk_mu_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Floats weights_;             // all blocks, one after another
  std::vector<Floats> slots_;  // each laid out as weights_
};

}  // namespace leeway
