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

// The floats that a payload of `run` holds. Requires a good one.
inline std::vector<float> DecodeRun(const Placement& placement, const ChunkRun& run, v1::Encoding encoding,
                                    const Buffer& payload) {
  std::vector<float> values(placement.RunElements(run));
  float* block = values.data();
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::size_t count = placement.BlockSize(run.first_block + std::uint64_t{i} * placement.num_shards());
    at = DecodeBlock(encoding, payload, at, count, block).value();
    block += count;
  }
  return values;
}

}  // namespace leeway
