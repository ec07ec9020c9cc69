// BufferReader: reads a Buffer from front to back, in place where that is possible.
//
// Thread safety: as an int. Ownership: the Buffer outlives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/buffer.h"

namespace leeway {

class BufferReader {
 public:
  explicit BufferReader(const Buffer& buffer, std::size_t at = 0) : buffer_(buffer), at_(at), in_slice_(at) {
    SkipSlices();
  }

  std::size_t at() const { return at_; }

  // The next `size` bytes in one piece: where they lie if they do, else gathered in `scratch` (`size` of room).
  // Requires that so many are left.
  const char* Take(std::size_t size, void* scratch) {
    const auto* bytes = static_cast<const char*>(scratch);
    if (size > 0) {
      const Buffer::Slice& slice = buffer_.slices()[slice_];
      if (slice.size - in_slice_ >= size) {
        bytes = slice.data + in_slice_;
      } else {
        Gather(size, static_cast<char*>(scratch));
      }
    }
    Skip(size);
    return bytes;
  }

  // As Take, but also gathered when they do not lie as floats must.
  const float* TakeFloats(std::size_t count, float* scratch);

  // The next `size` bytes, at the end of `out`. Requires that so many are left.
  void AppendTo(std::string* out, std::size_t size);

  // Requires that so many are left.
  void Skip(std::size_t size) {
    at_ += size;
    in_slice_ += size;
    SkipSlices();
  }

 private:
  void Gather(std::size_t size, char* out) const;
  void SkipSlices() {
    const std::vector<Buffer::Slice>& slices = buffer_.slices();
    while (slice_ < slices.size() && in_slice_ >= slices[slice_].size) in_slice_ -= slices[slice_++].size;
  }

  const Buffer& buffer_;
  std::size_t at_;         // byte of the buffer
  std::size_t slice_ = 0;  // the slice that it lies in, and where in that
  std::size_t in_slice_;
};

}  // namespace leeway
