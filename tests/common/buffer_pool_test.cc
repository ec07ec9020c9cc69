#include "common/buffer_pool.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

constexpr std::size_t kMany = BufferPool::kLeastPooled;

TEST_CASE("BufferPool: the buffer that came back last is used again, where it fits") {
  BufferPool pool;
  std::shared_ptr<char> first = pool.Take(kMany), second = pool.Take(kMany + 100);
  const char* const cold = first.get();
  const char* const warm = second.get();
  CHECK(cold != warm);
  first.reset();
  second.reset();
  CHECK(pool.idle_bytes() >= 2 * kMany + 100);
  first = pool.Take(kMany + 50);
  CHECK(first.get() == warm);
  second = pool.Take(kMany);
  CHECK(second.get() == cold);
  CHECK(pool.idle_bytes() == 0);
  second.reset();
  CHECK(pool.Take(8 * kMany).get() != cold);  // too short
  first = pool.Take(20 * kMany);
  const char* const large = first.get();
  first.reset();
  const std::size_t idle = pool.idle_bytes();
  const std::shared_ptr<char> small = pool.Take(2 * kMany);
  CHECK(small.get() != large);  // much too long: it stays for who needs it
  CHECK(pool.idle_bytes() == idle);
}

TEST_CASE("BufferPool: every buffer is aligned and has all its bytes") {
  BufferPool pool;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65},
                                 kMany - 1, kMany, kMany + 1, std::size_t{4 << 20} + 77}) {
    for (int again = 0; again < 2; ++again) {
      const std::shared_ptr<char> buffer = pool.Take(size);
      CHECK(reinterpret_cast<std::uintptr_t>(buffer.get()) % BufferPool::kAlignment == 0);
      std::memset(buffer.get(), again, size);
    }
  }
}

TEST_CASE("BufferPool: what is kept is bounded in bytes and in number") {
  BufferPool pool;
  std::vector<std::shared_ptr<char>> buffers;
  for (std::size_t bytes = 0; bytes < 2 * BufferPool::kMaxIdleBytes; bytes += 4 << 20) {
    buffers.push_back(pool.Take(4 << 20));
  }
  buffers.clear();
  CHECK(pool.idle_bytes() == BufferPool::kMaxIdleBytes);
  BufferPool many;
  for (std::size_t i = 0; i < 2 * BufferPool::kMaxIdleBuffers; ++i) buffers.push_back(many.Take(kMany));
  buffers.clear();
  CHECK(many.idle_bytes() == BufferPool::kMaxIdleBuffers * kMany);
  CHECK(many.Take(BufferPool::kMaxIdleBytes + 1) != nullptr);
  CHECK(many.idle_bytes() == 0);  // it was more than may be kept, and everything else was colder
}

TEST_CASE("BufferPool: a buffer may outlive its pool; threads share one") {
  auto pool = std::make_unique<BufferPool>();
  std::shared_ptr<char> last;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t size = kMany + i % 5 * kMany;
        const std::shared_ptr<char> buffer = pool->Take(size);
        std::memset(buffer.get(), t, size);
        for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
          if (buffer.get()[at] != t) std::abort();  // somebody else has it as well
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  last = pool->Take(kMany);
  pool.reset();
  std::memset(last.get(), 1, kMany);
}

TEST_CASE("Where the system has no memory, there is no buffer") {
  BufferPool pool;
  CHECK(pool.Take(std::size_t{1} << 50) == nullptr);
  CHECK(pool.Take(1 << 20) != nullptr);
}

}  // namespace
}  // namespace leeway
