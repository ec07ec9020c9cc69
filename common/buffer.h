// Buffer: a message or payload as a list of reference-counted byte slices. Copying a Buffer copies
// references, never bytes: a received gradient, and the weights a reply points at, are read where they lie.
//
// Thread safety: as a std::vector. The bytes behind a slice are shared: nobody writes to them while a
// Buffer refers to them, except the weight store, whose deliberate race server/block_store.h explains.
// Ownership: each slice keeps its owner alive.
// Invariant: no slice is empty; size() is the sum of the slices' sizes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace leeway {

class Buffer {
 public:
  struct Slice {
    const char* data = nullptr;
    std::size_t size = 0;
    std::shared_ptr<const void> owner;  // null: the bytes outlive every reader (static data)
  };

  Buffer() = default;
  // Takes the string's bytes (moved to the heap, not copied).
  static Buffer FromString(std::string bytes);
  // Refers to `size` bytes at `data` which `owner` keeps alive.
  static Buffer Wrap(std::shared_ptr<const void> owner, const void* data, std::size_t size);

  void Append(Slice slice);
  void Append(const Buffer& other);

  // Keeps `what` alive too, as long as the first byte. (An empty buffer keeps nothing.)
  void Keep(std::shared_ptr<const void> what);

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::vector<Slice>& slices() const { return slices_; }

  // The bytes [offset, offset + size) by reference. Requires offset + size <= this->size().
  Buffer Sub(std::size_t offset, std::size_t size) const;

  // Copies the bytes [offset, offset + size) to `out`. Requires offset + size <= this->size().
  void CopyTo(std::size_t offset, std::size_t size, void* out) const;
  std::string ToString() const;

  // `count` floats at byte `offset`: a pointer into the buffer when they lie in one slice and are aligned,
  // else `scratch` (room for `count` floats), filled. Requires offset + 4 * count <= size().
  const float* Floats(std::size_t offset, std::size_t count, float* scratch) const;

 private:
  // The slice that holds byte `offset`, and the offset within it. Requires offset < size().
  std::pair<std::size_t, std::size_t> Find(std::size_t offset) const;

  std::vector<Slice> slices_;
  std::size_t size_ = 0;
};

}  // namespace leeway
