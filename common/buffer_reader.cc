#include "common/buffer_reader.h"

#include <algorithm>
#include <cstring>

namespace leeway {

void BufferReader::Gather(std::size_t size, char* out) const {
  std::size_t from = in_slice_;
  for (std::size_t i = slice_; size > 0; ++i, from = 0) {
    const Buffer::Slice& slice = buffer_.slices()[i];
    const std::size_t n = std::min(size, slice.size - from);
    std::memcpy(out, slice.data + from, n);
    out += n;
    size -= n;
  }
}

const float* BufferReader::TakeFloats(std::size_t count, float* scratch) {
  const char* bytes = Take(count * sizeof(float), scratch);
  if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(float) == 0) return reinterpret_cast<const float*>(bytes);
  std::memcpy(scratch, bytes, count * sizeof(float));
  return scratch;
}

void BufferReader::AppendTo(std::string* out, std::size_t size) {
  const std::size_t before = out->size();
  out->resize(before + size);
  Gather(size, out->data() + before);
  Skip(size);
}

}  // namespace leeway
