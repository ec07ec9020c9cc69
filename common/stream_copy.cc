#include "common/stream_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace leeway {

void StreamCopy(const void* from, std::size_t size, void* to) {
#ifdef __SSE2__
  constexpr std::size_t kLine = 64;  // written whole, or the line would be read after all
  const auto* source = static_cast<const char*>(from);
  auto* target = static_cast<char*>(to);
  const std::size_t head = std::min(size, -reinterpret_cast<std::uintptr_t>(target) % kLine);
  std::memcpy(target, source, head);
  source += head;
  target += head;
  size -= head;
  for (; size >= kLine; size -= kLine, source += kLine, target += kLine) {
    const auto* in = reinterpret_cast<const __m128i*>(source);
    auto* out = reinterpret_cast<__m128i*>(target);
    for (int i = 0; i < 4; ++i) _mm_stream_si128(out + i, _mm_loadu_si128(in + i));
  }
  std::memcpy(target, source, size);
  _mm_sfence();
#else
  std::memcpy(to, from, size);
#endif
}

}  // namespace leeway
