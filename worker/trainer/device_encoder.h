// DeviceEncoder: error feedback on the device. What worker/client/error_feedback.h does with a gradient in the host's
// memory, this does where the gradient was computed: the residual lies there, the device encodes, and only the bytes
// cross to the host. It gives ErrorFeedback's bytes and residual, for int8 and for top_k without momentum correction.
//
// One thing differs: a block that cannot be encoded (a sum with the residual is not below 2^120, or NaN) says NaN in
// its bytes, for the shard to refuse the chunk; nobody on the host has looked at the values. Such a block's residual
// stays as it was (with top_k to rounding, kernels/vector_ops.h). The chunk's other blocks are encoded, and return to
// the residual with the refused chunk.
//
// The way of a chunk: BeginStep, MarkFinal (which enqueues; nothing waits on the host), Wait, Bytes, and Return where
// it was not applied. A push that counts for nothing returns everything: that is ErrorFeedback's Absorb, bit by bit,
// since encodings split a value without rounding.
//
// Thread safety: BeginStep and MarkFinal from one thread; the others from any. The device's order is that of the calls.
// Ownership: shared, because buffers of Bytes keep it; the backend outlives it. A slot's bytes stay as they are until
// the next step in that slot, which begins when the slot's push is done.
// Invariant: the residual is finite. All memory is allocated by Make.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/buffer.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "kernels/backend.h"
#include "worker/client/chunk_id.h"
#include "worker/client/chunk_tracker.h"
#include "worker/client/encodings.h"

namespace leeway {

class DeviceEncoder : public std::enable_shared_from_this<DeviceEncoder> {
 public:
  // Whether it can do this; else the host has to.
  static bool Takes(const PushEncoding& encoding);

  // With memory for the gradients of `slots` steps; the residual is zero. Requires an encoding that it takes.
  // RESOURCE_EXHAUSTED: not that much memory; else the backend's error.
  static absl::StatusOr<std::shared_ptr<DeviceEncoder>> Make(Backend& backend, const Placement& placement,
                                                             const PushEncoding& encoding, int slots);

  // A new step: nothing of its gradient is final.
  void BeginStep() { tracker_.Reset(); }

  // The elements [first, first + count) of `gradient` (all elements of the placement) are final as soon as `computed`
  // is reached. Encodes the chunks that this completes, with the residual, and returns them. The gradient must stay
  // until they have been waited for.
  std::vector<ChunkId> MarkFinal(int slot, DevicePtr<const float> gradient, std::uint64_t first, std::uint64_t count,
                                 Event& computed);

  // Blocks until the bytes of a chunk that MarkFinal named are there. INTERNAL: the device failed.
  absl::Status Wait(int slot, ChunkId id) { return slots_[Index(slot)].copied[numbers_[id]]->Synchronize(); }

  // The bytes of a chunk that has been waited for, where they lie.
  Buffer Bytes(int slot, ChunkId id) const;

  // `bytes` were not applied, and will not be: what they say is kept again. (A device that fails at it tells the next
  // Wait.)
  void Return(ChunkId id, const Buffer& bytes);

  v1::Encoding encoding() const { return encoding_.encoding; }
  // A copy, while no other call is under way.
  absl::StatusOr<std::vector<float>> Residual();

  // Bytes of host memory that it holds for `elements` parameters.
  static std::uint64_t EstimateBytes(std::uint64_t elements, const PushEncoding& encoding, int slots);

 private:
  struct Chunk {
    ChunkRun run;
    std::size_t offset = 0, bytes = 0;  // of its encoded blocks
  };
  struct Slot {
    HostMemory host;
    std::vector<std::unique_ptr<Event>> copied;  // per chunk, on the stream
  };

  DeviceEncoder(Backend& backend, const Placement& placement, const PushEncoding& encoding);
  absl::Status Allocate(int slots);
  static std::size_t Index(int slot) { return static_cast<std::size_t>(slot); }
  std::size_t Kept(std::size_t count) const;
  void Encode(const Chunk& chunk, DevicePtr<const float> gradient) LEEWAY_REQUIRES(mu_);

  Backend& backend_;
  const Placement placement_;
  const PushEncoding encoding_;
  const ChunkNumbers numbers_;
  std::vector<Chunk> chunks_;  // by number
  ChunkTracker tracker_;       // MarkFinal's thread's
  std::vector<Slot> slots_;

  Mutex return_mu_;  // before mu_. One chunk returns at a time, and who encodes does not wait for it.
  HostMemory host_returned_ LEEWAY_GUARDED_BY(return_mu_);  // floats of the largest chunk
  DeviceMemory returned_ LEEWAY_GUARDED_BY(return_mu_);
  std::unique_ptr<Event> added_ LEEWAY_GUARDED_BY(return_mu_);  // what lies there

  Mutex mu_;
  DeviceMemory residual_ LEEWAY_GUARDED_BY(mu_);           // as the model vector
  DeviceMemory encoded_ LEEWAY_GUARDED_BY(mu_);            // on its way to a slot's host memory
  std::unique_ptr<Stream> stream_ LEEWAY_GUARDED_BY(mu_);  // last: its work uses the rest
};

}  // namespace leeway
