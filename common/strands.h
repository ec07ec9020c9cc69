// Strands: functions that are posted under the same key run on an Executor one after the other, in the order they
// were posted; those of different keys may overlap.
//
// Thread safety: any thread. A strand takes a thread of the executor only while it has something to run.
// Ownership: the executor outlives what was posted; Strands need not.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "common/executor.h"
#include "common/mutex.h"

namespace leeway {

class Strands {
 public:
  // For the keys 0 to `keys` - 1.
  Strands(Executor& executor, std::size_t keys);

  // Never runs the function in line. As with an Executor, who posts is limited, not the queue.
  void Post(std::size_t key, std::function<void()> fn);

 private:
  struct Strand {
    Mutex mu;
    bool running LEEWAY_GUARDED_BY(mu) = false;
    std::deque<std::function<void()>> queue LEEWAY_GUARDED_BY(mu);
  };
  static void Run(Strand& strand);

  Executor& executor_;
  std::vector<std::shared_ptr<Strand>> strands_;
};

}  // namespace leeway
