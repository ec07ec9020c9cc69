#include "common/grpc_buffer.h"

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace leeway {
namespace {

// A message whose pieces are smaller on average is copied: what holds a piece takes some 100 bytes, and whoever sends
// frames of a few bytes would make us keep many times what he has sent.
constexpr std::size_t kLeastPiece = 1 << 10;

}  // namespace

grpc::ByteBuffer ToGrpc(const Buffer& buffer) {
  std::vector<grpc::Slice> slices;
  slices.reserve(buffer.slices().size());
  for (const Buffer::Slice& slice : buffer.slices()) {
    // The slice holds a share of the owner until gRPC has sent the bytes.
    auto* owner = new std::shared_ptr<const void>(slice.owner);
    slices.emplace_back(
        const_cast<char*>(slice.data), slice.size,
        [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); }, owner);
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

Buffer FromGrpc(const grpc::ByteBuffer& bytes) {
  Buffer buffer;
  std::vector<grpc::Slice> slices;
  if (!bytes.Valid() || !bytes.Dump(&slices).ok()) return buffer;
  if (slices.size() > 1 && bytes.Length() / kLeastPiece < slices.size()) {
    grpc::Slice whole;
    if (!bytes.DumpToSingleSlice(&whole).ok()) return buffer;
    slices.assign(1, std::move(whole));
  }
  for (grpc::Slice& slice : slices) {
    auto owner = std::make_shared<grpc::Slice>(std::move(slice));
    // A short slice keeps its bytes inside itself: take the address after it has its final place.
    const auto* data = reinterpret_cast<const char*>(owner->begin());
    const std::size_t size = owner->size();
    buffer.Append({data, size, std::move(owner)});
  }
  return buffer;
}

}  // namespace leeway
