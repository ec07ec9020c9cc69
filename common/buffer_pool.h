// BufferPool: memory for received messages, used again while it is warm. A fresh buffer of megabytes is mapped and
// faulted in page by page, which costs more than filling it.
//
// Thread safety: any thread. Ownership: buffers may outlive the pool; they come back by themselves with their last
// reference.
#pragma once

#include <cstddef>
#include <memory>

namespace leeway {

class BufferPool {
 public:
  static constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector
  // Below this the C library's own allocator is as good.
  static constexpr std::size_t kLeastPooled = 64 << 10;
  // What is kept beside the buffers in use: the pushes and pulls of one worker's window (8 chunks of 4 MiB each) and
  // as much again, for what is applied while the next are received.
  static constexpr std::size_t kMaxIdleBytes = 64 << 20;
  static constexpr std::size_t kMaxIdleBuffers = 64;

  BufferPool();

  // At least `size` bytes, aligned to kAlignment: the buffer that came back last of those that are large enough and
  // not more than twice too large, else a new one. The bytes are not cleared. Null: the system has no memory.
  std::shared_ptr<char> Take(std::size_t size);

  std::size_t idle_bytes() const;

 private:
  class Idle;
  const std::shared_ptr<Idle> idle_;
};

}  // namespace leeway
