// WorkerCopy: the values of one run of blocks as one worker has them after the last answer to its pulls, so that the
// next answer can be the difference, in INT8. What INT8 leaves out of one difference is part of the next: the server's
// error feedback.
//
// Thread safety: every method, from any thread; answers are made one after another.
// Invariant: a worker that takes every answer, as docs/protocol.md says, has the bits of this copy. After an answer
// that is a difference, each value is within half a step of INT8 from the weight that was read, plus the rounding of a
// sum.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "common/buffer.h"
#include "common/mutex.h"

namespace leeway {

class WorkerCopy {
 public:
  // Copies the weights of block `i` of the run to `out`.
  using ReadBlock = std::function<void(std::uint32_t i, float* out)>;

  // Empty at first; the run's blocks have these sizes.
  explicit WorkerCopy(std::vector<std::uint32_t> block_sizes) : block_sizes_(std::move(block_sizes)) {}

  struct Answer {
    bool delta = false;  // INT8, to be added; else F32, the values themselves
    Buffer payload;
  };
  // Brings the copy to the weights that `read` gives, numbers it `sequence` (never 0, never the same twice), and says
  // what the worker has to do to follow. The answer is a difference when the worker has what the answer numbered `base`
  // left, and that was the last one, and the weights are finite. `values`, if any: what the worker has then, in F32.
  Answer Update(std::uint64_t base, std::uint64_t sequence, const ReadBlock& read, Buffer* values = nullptr);

  std::vector<float> floats();  // tests

 private:
  bool Difference(const ReadBlock& read, Buffer* payload) LEEWAY_REQUIRES(mu_);
  Buffer Values(const ReadBlock& read) LEEWAY_REQUIRES(mu_);

  const std::vector<std::uint32_t> block_sizes_;
  Mutex mu_;
  std::vector<float> floats_ LEEWAY_GUARDED_BY(mu_);  // empty: nothing has been answered
  std::uint64_t sequence_ LEEWAY_GUARDED_BY(mu_) = 0;
};

}  // namespace leeway
