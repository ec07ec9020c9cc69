#include "server/worker_copy.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "kernels/encodings/encoding.h"
#include "kernels/finite.h"
#include "server/scratch.h"

namespace leeway {

WorkerCopy::Answer WorkerCopy::Update(std::uint64_t base, std::uint64_t sequence, const ReadBlock& read,
                                      Buffer* values) {
  MutexLock lock(mu_);
  Answer answer;
  answer.delta = base != 0 && base == sequence_ && Difference(read, &answer.payload);
  if (!answer.delta) answer.payload = Values(read);
  sequence_ = sequence;
  if (values != nullptr && answer.delta) {
    auto owner = std::make_shared<std::vector<float>>(floats_);
    *values = Buffer::Wrap(owner, owner->data(), owner->size() * sizeof(float));
  } else if (values != nullptr) {
    *values = answer.payload;
  }
  return answer;
}

// False when a value is not finite: INT8 cannot say so. The copy is then of no use any more.
bool WorkerCopy::Difference(const ReadBlock& read, Buffer* payload) {
  std::size_t bytes = 0;
  for (const std::size_t size : block_sizes_) bytes += EncodedBytes(v1::INT8, size);
  const std::shared_ptr<char[]> encoded = std::make_shared_for_overwrite<char[]>(bytes);
  *payload = Buffer::Wrap(encoded, encoded.get(), bytes);
  float* difference = BlockScratch(ScratchPlace::kSum);
  float* copy = floats_.data();
  char* out = encoded.get();
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < block_sizes_.size(); ++i) {
    const std::size_t size = block_sizes_[i];
    read(i, difference);
    for (std::size_t k = 0; k < size; ++k) difference[k] -= copy[k];
    if (FirstNonFinite(difference, size) < size) return false;
    out = EncodeBlock(v1::INT8, difference, size, 0, out);
    // As the worker does it, so that both ends round alike.
    at = DecodeAddBlock(v1::INT8, *payload, at, size, copy).value();
    copy += size;
  }
  return true;
}

Buffer WorkerCopy::Values(const ReadBlock& read) {
  const std::size_t elements = std::accumulate(block_sizes_.begin(), block_sizes_.end(), std::size_t{0});
  auto values = std::make_shared<std::vector<float>>(elements);
  float* out = values->data();
  for (std::uint32_t i = 0; i < block_sizes_.size(); ++i) {
    read(i, out);
    out += block_sizes_[i];
  }
  floats_ = *values;
  const float* data = values->data();
  return Buffer::Wrap(std::move(values), data, elements * sizeof(float));
}

std::vector<float> WorkerCopy::floats() {
  MutexLock lock(mu_);
  return floats_;
}

}  // namespace leeway
