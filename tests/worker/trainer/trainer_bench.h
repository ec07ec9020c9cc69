// Bench: a trainer on a small model and a fake cluster, with two shards and leased data.
//
// Thread safety: none, but for the fake cluster.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "tests/catch.h"
#include "tests/worker/client/runtime.h"
#include "tests/worker/trainer/small_worker.h"
#include "worker/trainer/trainer.h"

namespace leeway {

inline constexpr std::uint64_t kRecords = 300;

inline v1::Policy Leased(std::int64_t bound) {
  v1::Policy policy;
  policy.set_staleness_bound(bound);
  policy.set_max_delay(-1);
  policy.set_data_sharing(v1::LEASED);
  policy.set_seed(5);
  return policy;
}

struct Bench {
  Bench(const v1::Policy& policy, int depth, std::uint64_t epochs = 2,
        Engine::Gradients gradients = Engine::Gradients::kFloats)
      : worker(kRecords, 16, depth + 1, gradients),
        fake(worker.manifest().elements(), 2, policy, policy.data_sharing() == v1::LEASED ? epochs * kRecords : 0),
        runtime(fake) {
    options.identity.name = "w";
    options.depth = depth;
    options.samples_per_step = 16;
    options.device = "cpu";
    MutexLock lock(fake.mu);
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
      v1::DataRange range;
      range.set_epoch(epoch);
      range.set_end(kRecords);
      fake.ranges.push_back(range);
    }
  }
  absl::Status Run() {
    return RunTrainer(runtime.caller, *worker.engine, worker.manifest(), worker.data, options, cancellation);
  }

  // Every push of every clock came with all its chunks, or as null pushes; clocks have no gaps from `first` on.
  void CheckPushes(std::uint64_t first, std::uint64_t incarnation) LEEWAY_REQUIRES(fake.mu) {
    std::map<std::uint64_t, std::set<std::uint32_t>> shards;
    for (const v1::PushRequest& push : fake.pushes) {
      if (push.stamp().incarnation() == incarnation) shards[push.clock()].insert(push.has_run() ? 0u : 1u);
    }
    for (const auto& [clock, seen] : shards) REQUIRE(clock == first++);
    for (const v1::CommitDataRequest& commit : fake.commits) REQUIRE(commit.journaled_size() > 0);
  }

  SmallWorker worker;
  FakeCluster fake;
  Runtime runtime;
  TrainerOptions options;
  Cancellation cancellation;
};

}  // namespace leeway
