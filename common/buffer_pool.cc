#include "common/buffer_pool.h"

#include <sys/mman.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace leeway {
namespace {

// Lengths of messages differ by a few bytes of header: rounded up, they fit each other's buffers.
constexpr std::size_t kGranule = 16 << 10;

constexpr std::size_t RoundUp(std::size_t size, std::size_t to) { return (size + to - 1) / to * to; }

// Pooled memory comes from the system, page by page, and goes back there: what the pool does not keep is gone. From
// malloc, whose freed memory stays (common/tune_process.h), a flood of 64 connections left holes of as much again.
struct Unmap {
  std::size_t capacity = 0;
  void operator()(char* memory) const { munmap(memory, capacity); }
};
using Memory = std::unique_ptr<char, Unmap>;

// Null: the system has no memory.
Memory Allocate(std::size_t capacity) {
  // Populated at once: a message fills it.
  void* memory = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) return {};
  return Memory(static_cast<char*>(memory), Unmap{capacity});
}

std::shared_ptr<char> AllocateSmall(std::size_t size) {
  auto* memory = static_cast<char*>(std::aligned_alloc(BufferPool::kAlignment, size));
  if (memory == nullptr) return nullptr;
  return {memory, [](char* back) { std::free(back); }};
}

}  // namespace

class BufferPool::Idle {
 public:
  // Null: none fits.
  Memory Take(std::size_t size) {
    MutexLock lock(mu_);
    for (auto it = buffers_.rbegin(); it != buffers_.rend(); ++it) {
      const std::size_t capacity = it->get_deleter().capacity;
      if (capacity < size || capacity > 2 * size) continue;
      Memory found = std::move(*it);
      buffers_.erase(std::next(it).base());
      bytes_ -= capacity;
      return found;
    }
    return {};
  }

  void Give(Memory memory) {
    std::vector<Memory> dropped;  // freed without the lock
    MutexLock lock(mu_);
    bytes_ += memory.get_deleter().capacity;
    buffers_.push_back(std::move(memory));
    while (bytes_ > kMaxIdleBytes || buffers_.size() > kMaxIdleBuffers) {  // the coldest go
      bytes_ -= buffers_.front().get_deleter().capacity;
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
  std::vector<Memory> buffers_ LEEWAY_GUARDED_BY(mu_);  // the last came last
  std::size_t bytes_ LEEWAY_GUARDED_BY(mu_) = 0;
};

BufferPool::BufferPool() : idle_(std::make_shared<Idle>()) {}

std::shared_ptr<char> BufferPool::Take(std::size_t size) {
  if (size < kLeastPooled) return AllocateSmall(RoundUp(size + 1, kAlignment));
  Memory memory = idle_->Take(size);
  if (memory == nullptr) memory = Allocate(RoundUp(size, kGranule));
  if (memory == nullptr) return nullptr;
  const Unmap unmap = memory.get_deleter();
  return {memory.release(), [idle = idle_, unmap](char* back) { idle->Give(Memory(back, unmap)); }};
}

std::size_t BufferPool::idle_bytes() const { return idle_->bytes(); }

}  // namespace leeway
