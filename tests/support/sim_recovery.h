// RecoveredShard: what a process of a shard would be if it began now, on a copy of the files: for checkers, which
// compare ways to recover, and read what a shard that is gone has left.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/recover_shard.h"
#include "server/shard.h"
#include "tests/support/crash_files.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"

namespace leeway {

class RecoveredShard {
 public:
  // From the files in `checkpoint_dir`, but for the checkpoint in the directory `ignored` ("": all count).
  static absl::StatusOr<std::unique_ptr<RecoveredShard>> From(const CrashFiles& files,
                                                              const std::string& checkpoint_dir, std::uint32_t index,
                                                              std::uint32_t num_shards, const std::string& ignored);
  ~RecoveredShard();

  Shard& shard() { return *shard_; }
  const std::string& checkpoint() const { return storage_.checkpoint; }
  // Weights, slots, steps, windows, clocks, tickets, what it holds of the open round: all but statistics.
  std::string Everything();

 private:
  explicit RecoveredShard(std::unique_ptr<CrashFiles> files) : files_(std::move(files)) {}

  const std::unique_ptr<CrashFiles> files_;
  FakeClock clock_;
  PumpedExecutor executor_;
  std::unique_ptr<Shard> shard_;
  ShardFiles storage_;
};

}  // namespace leeway
