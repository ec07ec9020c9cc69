#include "common/buffer_pool.h"

#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace leeway {
namespace {

// Lengths of messages differ by a few bytes of header: rounded up, they fit each other's buffers.
constexpr std::size_t kGranule = 16 << 10;

constexpr std::size_t RoundUp(std::size_t size, std::size_t to) { return (size + to - 1) / to * to; }

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char, Free>;

Memory Allocate(std::size_t capacity) {
  Memory memory(static_cast<char*>(std::aligned_alloc(BufferPool::kAlignment, capacity)));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

class BufferPool::Idle {
 public:
  // Null: none fits.
  std::pair<Memory, std::size_t> Take(std::size_t size) {
    MutexLock lock(mu_);
    for (auto it = buffers_.rbegin(); it != buffers_.rend(); ++it) {
      if (it->second < size || it->second > 2 * size) continue;
      auto found = std::move(*it);
      buffers_.erase(std::next(it).base());
      bytes_ -= found.second;
      return found;
    }
    return {};
  }

  void Give(Memory memory, std::size_t capacity) {
    std::vector<std::pair<Memory, std::size_t>> dropped;  // freed without the lock
    MutexLock lock(mu_);
    bytes_ += capacity;
    buffers_.emplace_back(std::move(memory), capacity);
    while (bytes_ > kMaxIdleBytes || buffers_.size() > kMaxIdleBuffers) {  // the coldest go
      bytes_ -= buffers_.front().second;
      dropped.push_back(std::move(buffers_.front()));
      buffers_.erase(buffers_.begin());
    }
  }

  std::size_t bytes() {
    MutexLock lock(mu_);
    return bytes_;
  }

 private:
  Mutex mu_;
  std::vector<std::pair<Memory, std::size_t>> buffers_ LEEWAY_GUARDED_BY(mu_);  // with capacities; the last came last
  std::size_t bytes_ LEEWAY_GUARDED_BY(mu_) = 0;
};

BufferPool::BufferPool() : idle_(std::make_shared<Idle>()) {}

std::shared_ptr<char> BufferPool::Take(std::size_t size) {
  if (size < kLeastPooled) return {Allocate(RoundUp(size + 1, kAlignment)).release(), Free()};
  auto [memory, capacity] = idle_->Take(size);
  if (memory == nullptr) {
    capacity = RoundUp(size, kGranule);
    memory = Allocate(capacity);
  }
  return {memory.release(), [idle = idle_, capacity = capacity](char* back) { idle->Give(Memory(back), capacity); }};
}

std::size_t BufferPool::idle_bytes() const { return idle_->bytes(); }

}  // namespace leeway
