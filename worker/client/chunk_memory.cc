#include "worker/client/chunk_memory.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/stream_copy.h"
#include "kernels/encodings/encoding.h"

namespace leeway {
namespace {

// Of such a vector, what was pulled first is out of any core's share of the caches when the last piece has come.
constexpr std::size_t kBeyondCaches = 32 << 20;

void CopyPastCaches(const Buffer& payload, std::size_t at, std::size_t size, void* to) {
  auto* out = static_cast<char*>(to);
  const Buffer part = payload.Sub(at, size);
  for (const Buffer::Slice& slice : part.slices()) {
    StreamCopy(slice.data, slice.size, out);
    out += slice.size;
  }
}

template <typename T>
Buffer Wrap(const Placement& placement, const ChunkRun& run, const std::shared_ptr<const void>& owner,
            const T* vector) {
  if (run.num_blocks == 0) return {};
  if (placement.num_shards() == 1) {
    return Buffer::Wrap(owner, vector + placement.BlockBegin(run.first_block), placement.RunElements(run) * sizeof(T));
  }
  Buffer payload;
  ForEachBlock(placement, run, [&](std::uint64_t begin, std::size_t count) {
    payload.Append(Buffer::Slice{reinterpret_cast<const char*>(vector + begin), count * sizeof(T), owner});
  });
  return payload;
}

}  // namespace

v1::BlockRun RunToProto(const ChunkRun& run) {
  v1::BlockRun proto;
  proto.set_first_block(run.first_block);
  proto.set_num_blocks(run.num_blocks);
  return proto;
}

Buffer WrapRun(const Placement& placement, const ChunkRun& run, const std::shared_ptr<const void>& owner,
               const float* vector) {
  return Wrap(placement, run, owner, vector);
}

Buffer WrapRun(const Placement& placement, const ChunkRun& run, const std::shared_ptr<const void>& owner,
               const std::uint16_t* vector) {
  return Wrap(placement, run, owner, vector);
}

absl::Status UnpackHalves(const Placement& placement, const ChunkRun& run, const Buffer& payload,
                          std::uint16_t* vector) {
  RETURN_IF_ERROR(CheckRunSize(placement, run, v1::BF16, payload));
  std::size_t at = 0;
  ForEachBlock(placement, run, [&](std::uint64_t begin, std::size_t count) {
    CopyPastCaches(payload, at, count * sizeof *vector, vector + begin);
    at += count * sizeof *vector;
  });
  return absl::OkStatus();
}

absl::Status CheckRunSize(const Placement& placement, const ChunkRun& run, v1::Encoding encoding,
                          const Buffer& payload) {
  std::size_t expected = 0;
  ForEachBlock(placement, run, [&](std::uint64_t, std::size_t count) { expected += EncodedBytes(encoding, count); });
  if (payload.size() == expected) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the answer for blocks ", run.first_block, " (", run.num_blocks,
                                          " of them) has ", payload.size(), " bytes; expected are ", expected));
}

absl::Status UnpackRun(const Placement& placement, const ChunkRun& run, v1::Encoding encoding, const Buffer& payload,
                       float* vector) {
  RETURN_IF_ERROR(CheckRunSize(placement, run, encoding, payload));
  std::size_t at = 0;
  if (encoding == v1::F32 && placement.elements() * sizeof(float) >= kBeyondCaches) {
    ForEachBlock(placement, run, [&](std::uint64_t begin, std::size_t count) {
      CopyPastCaches(payload, at, count * sizeof(float), vector + begin);
      at += count * sizeof(float);
    });
    return absl::OkStatus();
  }
  absl::Status status;
  ForEachBlock(placement, run, [&](std::uint64_t begin, std::size_t count) {
    if (!status.ok()) return;
    const absl::StatusOr<std::size_t> end = DecodeBlock(encoding, payload, at, count, vector + begin);
    status = end.status();
    if (end.ok()) at = *end;
  });
  return status;
}

}  // namespace leeway
