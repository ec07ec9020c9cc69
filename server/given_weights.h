// GivenWeights: the values of one run of blocks that a worker was given for one step, as --delay_policy=dc needs them
// when the step's gradient comes. They are made once: a repetition of the pull is answered with the same values, so
// these are what the worker has, whichever answer it takes.
//
// Thread safety: every method, from any thread; who asks while the values are being made waits for them.
#pragma once

#include <cstdint>
#include <functional>

#include "common/buffer.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

class GivenWeights {
 public:
  struct Values {
    v1::Encoding encoding = v1::F32;  // or BF16
    Buffer payload;                   // of the run; empty: nothing is given yet
    // How far the shard was when it read them.
    std::uint64_t version = 0;
    std::uint64_t ticket_watermark = 0;
  };

  explicit GivenWeights(const ChunkRun& run) : run_(run) {}

  const ChunkRun& run() const { return run_; }

  // The values; `make` makes them if there are none.
  Values GetOrMake(const std::function<Values()>& make) {
    MutexLock lock(mu_);
    if (values_.payload.empty()) values_ = make();
    return values_;
  }
  Values Get() {
    MutexLock lock(mu_);
    return values_;
  }

 private:
  const ChunkRun run_;
  Mutex mu_;
  Values values_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
