// SeenWeights: what a worker has of the weights, chunk by chunk, so that servers can answer with what has changed.
//
// Each answer to a pull of deltas has a sequence number. A request names, as its base, the last one that the worker
// has. A server that knows the base sends the difference to it; else all values, which start anew. Answers may come in
// another order than they were given: one that is older than what is there changes nothing, since newer weights than
// asked for are always allowed.
//
// Thread safety: any thread; each chunk has a lock. Invariant: what is here is what the server believes, bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/buffer.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "proto/parameter_server.pb.h"
#include "worker/client/chunk_id.h"

namespace leeway {

class SeenWeights {
 public:
  explicit SeenWeights(const Placement& placement);

  // A new incarnation: no server knows what it has seen.
  void Forget();

  // What a request for this chunk names as its base; 0: nothing.
  std::uint64_t Base(ChunkId id);

  // Takes the answer to a request that named `base`, and writes the chunk's weights to `vector` (all elements of the
  // placement). False: the answer is a difference to something that is not here; ask again, with a new Base.
  // INTERNAL: it has another size than the chunk.
  absl::StatusOr<bool> Take(ChunkId id, std::uint64_t base, const v1::PullReply& reply, const Buffer& payload,
                            float* vector);

 private:
  struct Chunk {
    Mutex mu;  // guards the chunk's part of weights_ too
    ChunkRun run;
    std::uint64_t sequence LEEWAY_GUARDED_BY(mu) = 0;  // 0: none
    std::uint64_t generation LEEWAY_GUARDED_BY(mu) = 0;
  };

  const Placement placement_;
  const ChunkNumbers numbers_;
  std::vector<std::unique_ptr<Chunk>> chunks_;  // by number
  std::vector<float> weights_;                  // as the model vector
};

}  // namespace leeway
