// What a Caller needs, over a FakeCluster, ended in the right order.
#pragma once

#include <memory>
#include <utility>

#include "common/clock.h"
#include "common/executor.h"
#include "tests/worker/client/fake_cluster.h"
#include "worker/client/caller.h"

namespace leeway {

struct Runtime {
  explicit Runtime(Transport& transport, absl::Duration give_up_after = absl::Seconds(5),
                   std::unique_ptr<Clock> time = MakeSystemClock())
      : clock(std::move(time)),
        caller(transport, *clock, *executor, FakeCluster::kCoordinatorAddress, give_up_after, 1) {}
  ~Runtime() {
    caller.Stop();
    clock.reset();
    executor.reset();
  }

  std::unique_ptr<Executor> executor = MakeThreadPool(2);
  std::unique_ptr<Clock> clock;
  Caller caller;
};

}  // namespace leeway
