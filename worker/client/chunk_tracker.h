// ChunkTracker: which chunks of a push can leave. Gradients become final tensor by tensor; a chunk is ready
// when every element of its blocks is final.
//
// Thread safety: as an int. No RPC, no memory of the gradient: it counts elements.
// Invariant: a chunk is reported once per step.
#pragma once

#include <cstdint>
#include <vector>

#include "common/placement.h"
#include "worker/client/chunk_id.h"

namespace leeway {

class ChunkTracker {
 public:
  explicit ChunkTracker(const Placement& placement);

  // A new step: nothing is final.
  void Reset();

  // The elements [first, first + count) are final now. Returns the chunks that this completes. Requires that no
  // element is marked twice in a step and first + count <= elements.
  std::vector<ChunkId> MarkFinal(std::uint64_t first, std::uint64_t count);

 private:
  struct Chunk {
    ChunkId id;
    std::uint64_t elements = 0;
    std::uint64_t missing = 0;
  };

  const Placement placement_;
  std::vector<Chunk> chunks_;
  std::vector<std::uint32_t> chunk_of_block_;  // index into chunks_
};

}  // namespace leeway
