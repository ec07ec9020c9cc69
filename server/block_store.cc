#include "server/block_store.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/buffer_reader.h"
#include "common/status_macros.h"
#include "kernels/add_scaled.h"
#include "kernels/correct_delay.h"
#include "kernels/encodings/encoding.h"
#include "kernels/optimizers/make_optimizer.h"
#include "server/scratch.h"

namespace leeway {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line

// The block of `count` values at byte `at`, as floats: where they lie if they do, else in scratch. Moves `at` to the
// next block.
const float* DecodedBlock(v1::Encoding encoding, const Buffer& gradient, std::size_t count, std::size_t* at,
                          ScratchPlace place = ScratchPlace::kGradient) {
  float* scratch = BlockScratch(place);
  const std::size_t begin = *at;
  if (encoding == v1::F32) {
    *at += count * sizeof(float);
    return gradient.Floats(begin, count, scratch);
  }
  *at = DecodeBlock(encoding, gradient, begin, count, scratch).value();  // what CheckPayload found good decodes
  return scratch;
}

}  // namespace

void BlockStore::Free::operator()(float* memory) const { std::free(memory); }

BlockStore::Floats BlockStore::Allocate(std::uint64_t count) {
  const std::uint64_t bytes = (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  return Floats(static_cast<float*>(std::aligned_alloc(kAlignment, std::max<std::uint64_t>(bytes, kAlignment))));
}

std::uint64_t BlockStore::MemoryBytes(const Placement& placement, std::uint32_t shard, int slots) {
  return placement.ShardElements(shard) * sizeof(float) * (1 + static_cast<std::uint64_t>(slots));
}

absl::StatusOr<std::shared_ptr<BlockStore>> BlockStore::Make(const Manifest& manifest, const Placement& placement,
                                                             std::uint32_t shard, const v1::Policy& policy) {
  std::shared_ptr<BlockStore> store(new BlockStore(placement, shard));
  ASSIGN_OR_RETURN(store->optimizer_, MakeOptimizer(policy.optimizer()));
  const std::uint64_t elements = placement.ShardElements(shard);
  const int slots = store->optimizer_->slots();
  store->weights_ = Allocate(elements);
  bool allocated = store->weights_ != nullptr;
  for (int i = 0; i < slots && allocated; ++i) {
    store->slots_.push_back(Allocate(elements));
    allocated = store->slots_.back() != nullptr;
  }
  if (!allocated) {
    return absl::ResourceExhaustedError(absl::StrCat("block store: no memory for ", elements, " weights and ", slots,
                                                     " slots each (", MemoryBytes(placement, shard, slots), " bytes)"));
  }
  std::fill_n(store->weights_.get(), elements, 0.0f);
  for (int i = 0; i < slots; ++i) {
    std::fill_n(store->slots_[i].get(), elements, store->optimizer_->slot_initial_value(i));
  }
  std::uint64_t offset = 0;
  for (std::uint64_t b = shard; b < placement.num_blocks(); b += placement.num_shards()) {
    auto block = std::make_unique<Block>();
    block->offset = offset;
    block->size = static_cast<std::uint32_t>(placement.BlockSize(b));
    offset += block->size;
    store->blocks_.push_back(std::move(block));
  }
  store->CutIntoSegments(manifest, policy);
  return store;
}

void BlockStore::CutIntoSegments(const Manifest& manifest, const v1::Policy& policy) {
  std::map<std::string, std::pair<double, double>> factors;  // rate, weight decay
  for (const v1::GroupConfig& group : policy.groups()) {
    factors[group.group()] = {group.rate_factor(), group.weight_decay_factor()};
  }
  const double decay = policy.optimizer().weight_decay();
  for (std::size_t local = 0; local < blocks_.size(); ++local) {
    Block& block = *blocks_[local];
    const std::uint64_t begin = placement_.BlockBegin(shard_ + local * placement_.num_shards());
    std::uint32_t at = 0;
    while (at < block.size) {
      const Tensor& tensor = manifest.tensors()[manifest.TensorAt(begin + at)];
      const std::uint64_t tensor_end = tensor.offset + tensor.count - begin;
      const auto end = static_cast<std::uint32_t>(std::min<std::uint64_t>(block.size, tensor_end));
      const auto it = factors.find(tensor.group);
      const auto [rate_factor, decay_factor] = it == factors.end() ? std::pair(1.0, 1.0) : it->second;
      block.segments.push_back({at, end - at, rate_factor, decay * decay_factor, decay_factor});
      at = end;
    }
  }
}

std::size_t BlockStore::LocalIndex(std::uint64_t block) const { return (block - shard_) / placement_.num_shards(); }

void BlockStore::FillInitialValues(std::uint64_t seed, const Manifest& manifest) {
  for (std::size_t local = 0; local < blocks_.size(); ++local) {
    Block& block = *blocks_[local];
    MutexLock lock(block.mu);
    leeway::FillInitialValues(seed, manifest, placement_.BlockBegin(shard_ + local * placement_.num_shards()),
                              absl::MakeSpan(weights_.get() + block.offset, block.size));
  }
}

Buffer BlockStore::ReadLive(const ChunkRun& run) const {
  if (run.num_blocks == 0) return {};
  const std::uint64_t offset = blocks_[LocalIndex(run.first_block)]->offset;
  return Buffer::Wrap(shared_from_this(), weights_.get() + offset, placement_.RunElements(run) * sizeof(float));
}

Buffer BlockStore::ReadCopy(const ChunkRun& run, v1::Encoding encoding) {
  std::size_t bytes = 0;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) bytes += EncodedBytes(encoding, At(run, i).size);
  const std::shared_ptr<char[]> copy = std::make_shared_for_overwrite<char[]>(bytes);
  char* out = copy.get();
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    Block& block = At(run, i);
    MutexLock lock(block.mu);
    out = EncodeBlock(encoding, weights_.get() + block.offset, block.size, 0, out);
  }
  return Buffer::Wrap(copy, copy.get(), bytes);
}

void BlockStore::ReadBlock(const ChunkRun& run, std::uint32_t i, float* out) {
  Block& block = At(run, i);
  MutexLock lock(block.mu);
  std::copy_n(weights_.get() + block.offset, block.size, out);
}

void BlockStore::Write(const ChunkRun& run, const Buffer& payload) {
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    Block& block = At(run, i);
    MutexLock lock(block.mu);
    payload.CopyTo(at, block.size * sizeof(float), weights_.get() + block.offset);
    at += block.size * sizeof(float);
  }
}

// `take(n)` gives the gradient of the block's next n elements.
template <typename Take>
void BlockStore::Step(Block& block, double rate, Take take) {
  ++block.steps;
  constexpr std::size_t kMostSlots = 4;
  float* slots[kMostSlots] = {};
  for (const Segment& segment : block.segments) {
    StepArgs args;
    args.slots = slots;
    args.rate = rate * segment.rate_factor;
    args.weight_decay = segment.weight_decay;
    args.penalty_factor = segment.penalty_factor;
    args.step = block.steps;
    for (std::size_t done = 0; done < segment.count; done += args.count) {
      const std::uint64_t at = block.offset + segment.begin + done;
      for (std::size_t i = 0; i < slots_.size() && i < kMostSlots; ++i) slots[i] = slots_[i].get() + at;
      args.weights = weights_.get() + at;
      args.count = std::min<std::size_t>(kScratchPiece, segment.count - done);
      args.gradient = take(args.count);
      optimizer_->Step(args);
    }
  }
}

void BlockStore::StepDense(Block& block, const float* gradient, double rate) {
  Step(block, rate, [&gradient](std::size_t n) { return std::exchange(gradient, gradient + n); });
}

void BlockStore::Apply(const ChunkRun& run, v1::Encoding encoding, const Buffer& gradient, double rate) {
  float* scratch = BlockScratch(ScratchPlace::kGradient);
  BufferReader reader(gradient);
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    Block& block = At(run, i);
    if (encoding == v1::F32) {
      MutexLock lock(block.mu);
      Step(block, rate, [&](std::size_t n) { return reader.TakeFloats(n, scratch); });
    } else {
      const float* floats = DecodedBlock(encoding, gradient, block.size, &at);
      MutexLock lock(block.mu);
      StepDense(block, floats, rate);
    }
  }
}

const float* BlockStore::BaseOf(std::uint64_t block, absl::Span<const Base> bases) const {
  for (const Base& base : bases) {
    const std::uint64_t i = (block - base.run.first_block) / placement_.num_shards();
    if (block < base.run.first_block || i >= base.run.num_blocks) continue;
    std::size_t at = EncodedBytes(base.encoding, i * placement_.block_elements());
    return DecodedBlock(base.encoding, base.values, placement_.BlockSize(block), &at, ScratchPlace::kGiven);
  }
  return nullptr;
}

Buffer BlockStore::ApplyCorrected(const ChunkRun& run, v1::Encoding encoding, const Buffer& gradient,
                                  absl::Span<const Base> bases, double lambda, double rate, bool keep) {
  std::shared_ptr<float[]> kept;
  if (keep) kept = std::make_shared_for_overwrite<float[]>(placement_.RunElements(run));
  float* out = keep ? kept.get() : BlockScratch(ScratchPlace::kSum);
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    Block& block = At(run, i);
    const float* floats = DecodedBlock(encoding, gradient, block.size, &at);
    const float* base = BaseOf(run.first_block + std::uint64_t{i} * placement_.num_shards(), bases);
    MutexLock lock(block.mu);
    std::size_t done = 0;
    // Piece by piece, so that the step finds in the cache what was just looked at.
    Step(block, rate, [&](std::size_t n) {
      if (base == nullptr) {
        std::copy_n(floats + done, n, out);
      } else {
        CorrectDelay(static_cast<float>(lambda), floats + done, weights_.get() + block.offset + done, base + done, n,
                     out);
      }
      done += n;
      return keep ? std::exchange(out, out + n) : out;
    });
  }
  const float* values = kept.get();
  return keep ? Buffer::Wrap(std::move(kept), values, placement_.RunElements(run) * sizeof(float)) : Buffer();
}

void BlockStore::ApplySum(const ChunkRun& run, absl::Span<const Term> terms, double rate) {
  std::vector<std::size_t> at(terms.size());
  float* sum = BlockScratch(ScratchPlace::kSum);
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    Block& block = At(run, i);
    std::fill_n(sum, block.size, 0.0f);
    for (std::size_t k = 0; k < terms.size(); ++k) {
      const float* gradient = DecodedBlock(terms[k].encoding, terms[k].gradient, block.size, &at[k]);
      AddScaled(terms[k].weight, gradient, block.size, sum);
    }
    MutexLock lock(block.mu);
    StepDense(block, sum, rate);
  }
}

void BlockStore::SetSteps(std::size_t local, std::uint64_t steps) {
  Block& block = *blocks_[local];
  MutexLock lock(block.mu);
  block.steps = steps;
}

std::uint64_t BlockStore::Steps(std::size_t local) {
  Block& block = *blocks_[local];
  MutexLock lock(block.mu);
  return block.steps;
}

}  // namespace leeway
