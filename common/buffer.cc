#include "common/buffer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace leeway {

Buffer Buffer::FromString(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  return Wrap(owner, owner->data(), owner->size());
}

Buffer Buffer::Wrap(std::shared_ptr<const void> owner, const void* data, std::size_t size) {
  Buffer buffer;
  buffer.Append(Slice{static_cast<const char*>(data), size, std::move(owner)});
  return buffer;
}

void Buffer::Append(Slice slice) {
  if (slice.size == 0) return;
  size_ += slice.size;
  slices_.push_back(std::move(slice));
}

void Buffer::Append(const Buffer& other) {
  for (const Slice& slice : other.slices_) Append(slice);
}

std::pair<std::size_t, std::size_t> Buffer::Find(std::size_t offset) const {
  std::size_t index = 0;
  while (offset >= slices_[index].size) offset -= slices_[index++].size;
  return {index, offset};
}

void Buffer::Keep(std::shared_ptr<const void> what) {
  if (slices_.empty()) return;
  std::shared_ptr<const void>& owner = slices_.front().owner;
  using Both = std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>;
  owner = std::make_shared<const Both>(std::move(owner), std::move(what));
}

Buffer Buffer::Sub(std::size_t offset, std::size_t size) const {
  Buffer out;
  if (size == 0) return out;
  auto [index, at] = Find(offset);
  while (size > 0) {
    const Slice& slice = slices_[index++];
    const std::size_t n = std::min(size, slice.size - at);
    out.Append(Slice{slice.data + at, n, slice.owner});
    size -= n;
    at = 0;
  }
  return out;
}

void Buffer::CopyTo(std::size_t offset, std::size_t size, void* out) const {
  if (size == 0) return;
  char* to = static_cast<char*>(out);
  auto [index, at] = Find(offset);
  while (size > 0) {
    const Slice& slice = slices_[index++];
    const std::size_t n = std::min(size, slice.size - at);
    std::memcpy(to, slice.data + at, n);
    to += n;
    size -= n;
    at = 0;
  }
}

std::string Buffer::ToString() const {
  std::string out(size_, '\0');
  CopyTo(0, size_, out.data());
  return out;
}

const float* Buffer::Floats(std::size_t offset, std::size_t count, float* scratch) const {
  if (count == 0) return scratch;
  const auto [index, at] = Find(offset);
  const char* data = slices_[index].data + at;
  const bool whole = slices_[index].size - at >= count * sizeof(float);
  if (whole && reinterpret_cast<std::uintptr_t>(data) % alignof(float) == 0) {
    return reinterpret_cast<const float*>(data);
  }
  CopyTo(offset, count * sizeof(float), scratch);
  return scratch;
}

}  // namespace leeway
