// Between a chunk's payload (its blocks one after another) and the flat model vector (where they lie a stride
// of num_shards blocks apart).
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "common/buffer.h"
#include "common/placement.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

v1::BlockRun RunToProto(const ChunkRun& run);

// The run's blocks of `vector` (all elements of the placement), by reference: one slice per block, or one for
// all where they lie together. `owner` keeps the vector alive, and unchanged, until the last reader is done.
Buffer WrapRun(const Placement& placement, const ChunkRun& run, const std::shared_ptr<const void>& owner,
               const float* vector);
// The same of a vector of bfloat16.
Buffer WrapRun(const Placement& placement, const ChunkRun& run, const std::shared_ptr<const void>& owner,
               const std::uint16_t* vector);

// Decodes `payload` (F32 or BF16) to where the run's blocks lie in `vector`. INTERNAL: it has another size than the
// run.
absl::Status UnpackRun(const Placement& placement, const ChunkRun& run, v1::Encoding encoding, const Buffer& payload,
                       float* vector);
// Copies `payload` (BF16) to where the run's blocks lie in `vector`. Errors as UnpackRun.
absl::Status UnpackHalves(const Placement& placement, const ChunkRun& run, const Buffer& payload,
                          std::uint16_t* vector);

// INTERNAL, naming both sizes, unless `payload` is as long as the run's blocks in `encoding` (not TOP_K) are.
absl::Status CheckRunSize(const Placement& placement, const ChunkRun& run, v1::Encoding encoding,
                          const Buffer& payload);

// Calls fn(first element, elements) for each block of the run, in order.
template <typename Fn>
void ForEachBlock(const Placement& placement, const ChunkRun& run, Fn fn) {
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
    fn(placement.BlockBegin(block), static_cast<std::size_t>(placement.BlockSize(block)));
  }
}

}  // namespace leeway
