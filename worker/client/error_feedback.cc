#include "worker/client/error_feedback.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/encodings/encoding.h"
#include "kernels/encodings/residual.h"
#include "worker/client/chunk_memory.h"

namespace leeway {
namespace {

bool KeepsResidual(const PushEncoding& encoding) {
  return encoding.encoding == v1::INT8 || encoding.encoding == v1::TOP_K;
}

std::size_t KeptOf(const PushEncoding& encoding, std::size_t count) {
  return encoding.encoding == v1::TOP_K ? TopKCount(encoding.fraction, count) : 0;
}

}  // namespace

// Memory for the bytes of one chunk, as often as pushes in flight need it; it is never given back to the system, so
// that no step touches fresh pages.
class ErrorFeedback::Pool : public std::enable_shared_from_this<Pool> {
 public:
  explicit Pool(std::size_t bytes) : bytes_(bytes) {}

  std::shared_ptr<char> Take() {
    std::unique_ptr<char[]> memory;
    {
      MutexLock lock(mu_);
      if (!free_.empty()) {
        memory = std::move(free_.back());
        free_.pop_back();
      }
    }
    if (memory == nullptr) memory.reset(new char[bytes_]);  // not cleared
    return std::shared_ptr<char>(memory.release(), [pool = shared_from_this()](char* back) {
      MutexLock lock(pool->mu_);
      pool->free_.emplace_back(back);
    });
  }

 private:
  const std::size_t bytes_;
  Mutex mu_;
  std::vector<std::unique_ptr<char[]>> free_ LEEWAY_GUARDED_BY(mu_);  // the one used last is taken first: it is warm
};

ErrorFeedback::ErrorFeedback(const Placement& placement, const PushEncoding& encoding)
    : placement_(placement),
      encoding_(encoding),
      numbers_(placement),
      residual_(KeepsResidual(encoding) ? placement.elements() : 0),
      velocity_(encoding.momentum > 0 ? placement.elements() : 0) {
  std::size_t largest = 0;
  for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) {
    for (std::uint32_t number = 0; number < placement.ShardChunks(shard); ++number) {
      Chunk& chunk = *chunks_.emplace_back(std::make_unique<Chunk>());
      chunk.run = placement.Chunk(shard, number);
      std::size_t bytes = 0;
      ForEachBlock(placement, chunk.run, [&](std::uint64_t, std::size_t count) {
        bytes += EncodedBytes(encoding.encoding, count, Kept(count));
      });
      largest = std::max(largest, bytes);
    }
  }
  pool_ = std::make_shared<Pool>(largest);
}

std::uint64_t ErrorFeedback::EstimateBytes(std::uint64_t elements, const PushEncoding& encoding, int pushes) {
  if (encoding.encoding == v1::F32) return 0;
  const std::uint64_t vectors = (KeepsResidual(encoding) ? 1 : 0) + (encoding.momentum > 0 ? 1 : 0);
  const std::uint64_t encoded = EncodedBytes(encoding.encoding, elements, KeptOf(encoding, elements));
  return vectors * elements * sizeof(float) + static_cast<std::uint64_t>(pushes) * encoded;
}

std::size_t ErrorFeedback::Kept(std::size_t count) const { return KeptOf(encoding_, count); }

// Looked at before anything is changed: a chunk is encoded whole or not at all.
bool ErrorFeedback::Fits(const Chunk& chunk, const float* gradient) const {
  bool fits = true;
  ForEachBlock(placement_, chunk.run, [&](std::uint64_t begin, std::size_t count) {
    if (!fits) return;
    const float* const values = gradient + begin;
    if (encoding_.momentum > 0) {
      fits = MomentumSumEncodable(&residual_[begin], &velocity_[begin], static_cast<float>(encoding_.momentum), values,
                                  count);
    } else {
      fits = residual_.empty() ? Encodable(values, count) : SumEncodable(&residual_[begin], values, count);
    }
  });
  return fits;
}

void ErrorFeedback::Add(const float* gradient, std::uint64_t begin, std::size_t count) {
  if (encoding_.momentum > 0) {
    AddMomentum(gradient + begin, count, static_cast<float>(encoding_.momentum), &velocity_[begin], &residual_[begin]);
  } else {
    AddValues(gradient + begin, count, &residual_[begin]);
  }
}

// What has been sent at last goes on with a velocity of its own: the old one has done its work (DGC's factor masking).
void ErrorFeedback::StopSent(std::uint64_t begin, std::size_t kept, const char* block) {
  for (std::size_t i = 0; i < kept; ++i) {
    std::uint32_t index;
    std::memcpy(&index, block + (1 + i) * sizeof index, sizeof index);  // after the count
    velocity_[begin + index] = 0;
  }
}

std::optional<Buffer> ErrorFeedback::Encode(ChunkId id, const float* gradient) {
  Chunk& chunk = At(id);
  MutexLock lock(chunk.mu);
  if (!Fits(chunk, gradient)) return std::nullopt;
  const std::shared_ptr<char> bytes = pool_->Take();
  char* end = bytes.get();
  ForEachBlock(placement_, chunk.run, [&](std::uint64_t begin, std::size_t count) {
    const std::size_t kept = Kept(count);
    const char* const block = end;
    if (residual_.empty()) {
      end = EncodeBlock(encoding_.encoding, gradient + begin, count, kept, end);
      return;
    }
    Add(gradient, begin, count);
    end = EncodeBlock(encoding_.encoding, &residual_[begin], count, kept, end, &residual_[begin]);
    if (encoding_.momentum > 0 && kept < count) StopSent(begin, kept, block);
  });
  return Buffer::Wrap(bytes, bytes.get(), static_cast<std::size_t>(end - bytes.get()));
}

void ErrorFeedback::Absorb(ChunkId id, const float* gradient) {
  Chunk& chunk = At(id);
  MutexLock lock(chunk.mu);
  if (residual_.empty() || !Fits(chunk, gradient)) return;
  ForEachBlock(placement_, chunk.run, [&](std::uint64_t begin, std::size_t count) { Add(gradient, begin, count); });
}

void ErrorFeedback::Return(ChunkId id, const Buffer& bytes) {
  Chunk& chunk = At(id);
  MutexLock lock(chunk.mu);
  if (residual_.empty()) return;
  std::size_t at = 0;
  ForEachBlock(placement_, chunk.run, [&](std::uint64_t begin, std::size_t count) {
    at = DecodeAddBlock(encoding_.encoding, bytes, at, count, &residual_[begin]).value();  // as Encode wrote it
  });
}

}  // namespace leeway
