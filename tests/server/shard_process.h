// Process: one process of a shard after another, on the same files.
//
// Thread safety: none. Ownership: `files` outlives it.
#pragma once

#include <cstdint>
#include <utility>

#include "server/recover_shard.h"
#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/crash_files.h"
#include "tests/support/pumped_executor.h"

namespace leeway {

// One process of shard 0.
struct Process {
  static constexpr char kFolder[] = "checkpoints";

  Process(CrashFiles& files, const v1::Policy& policy, std::uint64_t elements, std::uint64_t generation,
          const v1::WatchReply* snapshot = nullptr, bool fsync = false)
      : fixture(policy, elements, Shard::Options{.generation = generation}) {
    if (snapshot != nullptr) fixture.snapshot = *snapshot;
    absl::StatusOr<ShardFiles> recovered = RecoverShard({.checkpoint_dir = kFolder, .fsync = fsync}, fixture.options,
                                                        &files, &fixture.clock, &disk, &fixture.shard);
    INFO(recovered.status().ToString());
    REQUIRE(recovered.ok());
    storage = *std::move(recovered);
    if (snapshot != nullptr) REQUIRE(fixture.shard.ApplySnapshot(*snapshot).ok());  // the coordinator's first word
  }
  ~Process() {
    fixture.shard.Shutdown("killed");
    storage.journal->Stop();
    RunAll();
  }

  void RunAll() {
    while (fixture.executor.size() + disk.size() > 0) {
      fixture.executor.RunAll();
      disk.RunAll();
    }
  }

  ShardFixture fixture;
  PumpedExecutor disk;
  ShardFiles storage;
};

}  // namespace leeway
