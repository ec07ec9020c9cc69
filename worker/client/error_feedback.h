// ErrorFeedback: a worker's gradients, encoded chunk by chunk; what an encoding leaves out is kept and added to the
// next gradient, so that it arrives later instead of never. (A GPU does it where the gradient is:
// worker/trainer/device_encoder.h.)
//
//   f32, bf16   nothing is kept: bf16 rounds to the nearest value, which errs to neither side.
//   int8, top_k the residual r. Encode: r += gradient; bytes = Q(r); r -= what the bytes say.
//   top_k with momentum correction (deep gradient compression, Lin et al. 2018): a velocity u and its sum v.
//               u = m * u + gradient; v += u; bytes = top_k(v); v and u become 0 where a value was sent. A block that
//               is sent whole (fraction 1) keeps its u: that is momentum SGD.
//
// The identity: sum(encoded and not returned) + residual == sum(gradients encoded or absorbed), to the rounding of
// float32 additions, before any scaling by rates or samples. With momentum correction it is stated over the velocities:
// v in the residual's place, the sum of the u of every step in the gradients'.
//
// Thread safety: any thread. Each chunk has a lock, so that its residual has one user at a time; chunks do not wait for
// each other. The order of calls for a chunk is the caller's matter: Encode and Absorb in the order of the steps
// (worker/client/push.h), Return whenever its verdict comes.
// Ownership: the bytes are in pooled memory, which comes back when the last reference to it goes and may outlive this.
// Invariant: the residual is finite. What is not finite, or not below 2^120, does not enter it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "common/buffer.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "worker/client/chunk_id.h"
#include "worker/client/encodings.h"

namespace leeway {

class ErrorFeedback {
 public:
  // Residuals start at zero.
  ErrorFeedback(const Placement& placement, const PushEncoding& encoding);

  // The chunk of `gradient` (all elements of the placement) together with what was kept, encoded. Nothing when a value
  // is not finite, or not below 2^120: then the residual stays as it was.
  std::optional<Buffer> Encode(ChunkId id, const float* gradient);

  // As Encode, but nothing is sent: all of it is kept (where something is kept at all).
  void Absorb(ChunkId id, const float* gradient);

  // `bytes` of Encode were not applied, and will not be: what they say is kept again.
  void Return(ChunkId id, const Buffer& bytes);

  v1::Encoding encoding() const { return encoding_.encoding; }
  const ChunkNumbers& chunks() const { return numbers_; }
  // r or v; empty where nothing is kept. While no other call is under way.
  const std::vector<float>& residual() const { return residual_; }

  // Bytes of host memory that it holds for `elements` parameters, with `pushes` of them in flight.
  static std::uint64_t EstimateBytes(std::uint64_t elements, const PushEncoding& encoding, int pushes);

 private:
  class Pool;
  struct Chunk {
    Mutex mu;  // guards the chunk's part of residual_ and velocity_
    ChunkRun run;
  };

  Chunk& At(ChunkId id) { return *chunks_[numbers_[id]]; }
  std::size_t Kept(std::size_t count) const;
  bool Fits(const Chunk& chunk, const float* gradient) const;
  void Add(const float* gradient, std::uint64_t begin, std::size_t count);
  void StopSent(std::uint64_t begin, std::size_t kept, const char* block);

  const Placement placement_;
  const PushEncoding encoding_;
  const ChunkNumbers numbers_;
  std::vector<std::unique_ptr<Chunk>> chunks_;  // by number
  std::vector<float> residual_, velocity_;      // as the model vector
  std::shared_ptr<Pool> pool_;
};

}  // namespace leeway
