// The values of a run of blocks as they travel.
//
// Thread safety: pure function.
#pragma once

#include <string>
#include <vector>

#include "common/buffer.h"
#include "common/placement.h"
#include "kernels/encodings/encoding.h"

namespace leeway {

// `values`: the run's, in its order. TOP_K keeps `fraction` of each block.
inline Buffer EncodeRun(const Placement& placement, const ChunkRun& run, v1::Encoding encoding,
                        const std::vector<float>& values, double fraction = 1) {
  std::string bytes;
  const float* block = values.data();
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::size_t count = placement.BlockSize(run.first_block + std::uint64_t{i} * placement.num_shards());
    const std::size_t kept = TopKCount(fraction, count);
    const std::size_t begin = bytes.size();
    bytes.resize(begin + EncodedBytes(encoding, count, kept));
    EncodeBlock(encoding, block, count, kept, bytes.data() + begin);
    block += count;
  }
  return Buffer::FromString(std::move(bytes));
}

// The floats that a payload of `run` holds, or what is wrong with it.
inline absl::StatusOr<std::vector<float>> DecodeRun(const Placement& placement, const ChunkRun& run,
                                                    v1::Encoding encoding, const Buffer& payload) {
  std::vector<float> values(placement.RunElements(run));
  float* block = values.data();
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::size_t count = placement.BlockSize(run.first_block + std::uint64_t{i} * placement.num_shards());
    const absl::StatusOr<std::size_t> next = DecodeBlock(encoding, payload, at, count, block);
    if (!next.ok()) return next.status();
    at = *next;
    block += count;
  }
  if (at != payload.size()) return absl::InvalidArgumentError("the payload goes on after the run's last block");
  return values;
}

}  // namespace leeway
