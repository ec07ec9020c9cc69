// ByteBudget: how many bytes a shard holds of gradients that are not applied yet, and of copies of weights that are not
// sent yet, and for whom. Every worker has an equal share of the limit, so that what one leaves standing, or sends
// without asking, takes no room from the others.
//
// Thread safety: every method, from any thread; a charge ends with its memory, wherever that is.
// Invariants: total() is the sum of the charges that are alive. A worker that holds nothing is always let in, and up to
// kLeast; beyond that, up to its share, while the total is within the limit. So with messages of at most kLeast the
// total is at most the limit, or workers * kLeast where that is more; what TakeAnyway let in, and what was let in for a
// larger share before workers came, comes on top.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/placement.h"

namespace leeway {

class ByteBudget {
 public:
  // What a worker may hold however many there are: two chunks, one being applied and one coming.
  static constexpr std::uint64_t kLeast = 2 * Placement::kChunkElements * sizeof(float);

  // The bytes count until the last copy of this is gone. Null: they were not let in.
  using Charge = std::shared_ptr<const void>;

  // The limit of all, and among how many workers it is shared. What is held already stays.
  void SetLimit(std::uint64_t bytes, std::size_t workers);

  // Null: `worker` has to come again, after Delay().
  Charge Take(std::uint32_t worker, std::uint64_t bytes);
  // Never null: for what something waits for that holds up everybody.
  Charge TakeAnyway(std::uint32_t worker, std::uint64_t bytes);

  // How long `worker`, which was just refused, has to wait: kDelay for each refusal since it was last let in, at most
  // kMostDelay. A burst of chunks comes back one after another, about as fast as they can be applied.
  static constexpr absl::Duration kDelay = absl::Milliseconds(20);  // about ten times what a chunk takes
  static constexpr absl::Duration kMostDelay = absl::Seconds(1);
  absl::Duration Delay(std::uint32_t worker) const;

  std::uint64_t total() const;
  std::uint64_t held(std::uint32_t worker) const;
  std::uint64_t share() const;

 private:
  struct Worker {
    std::uint64_t bytes = 0;
    std::uint64_t refusals = 0;  // since it was last let in
  };
  // Charges may outlive the budget, so what they change is shared with them.
  struct State {
    mutable Mutex mu;
    std::uint64_t limit LEEWAY_GUARDED_BY(mu) = 0;
    std::uint64_t share LEEWAY_GUARDED_BY(mu) = 0;
    std::uint64_t total LEEWAY_GUARDED_BY(mu) = 0;
    std::map<std::uint32_t, Worker> workers LEEWAY_GUARDED_BY(mu);  // who holds something
  };
  Charge Grant(std::uint32_t worker, std::uint64_t bytes) LEEWAY_REQUIRES(state_->mu);

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace leeway
