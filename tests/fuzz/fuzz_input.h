// What the fuzz targets share: a reader of their input, and a check that ends the process when it fails, so that
// libFuzzer keeps the input.
//
// Thread safety: as an int. Ownership: the input's memory is the fuzzer's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/buffer.h"

// Holds in every build; NDEBUG does not matter.
#define FUZZ_CHECK(condition)                                                      \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

namespace leeway {

// Reads the input from its beginning; behind its end there are zeros, and no bytes.
class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  bool empty() const { return size_ == 0; }

  std::uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }

  // The next `count` bytes, or what there is.
  std::string Bytes(std::size_t count) {
    count = std::min(count, size_);
    std::string bytes(reinterpret_cast<const char*>(data_), count);
    data_ += count;
    size_ -= count;
    return bytes;
  }

  std::string Rest() { return Bytes(size_); }

  // The rest, cut into slices: a byte with the number of cuts, a byte for each (how far behind the one before), then
  // the contents. Each slice has memory of its own, so that a read past its end is seen.
  Buffer Pieces() {
    std::vector<std::size_t> cuts(Byte());
    for (std::size_t& cut : cuts) cut = Byte();
    Buffer pieces;
    for (const std::size_t cut : cuts) pieces.Append(Buffer::FromString(Bytes(cut)));
    pieces.Append(Buffer::FromString(Bytes(size_)));
    return pieces;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

}  // namespace leeway
