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
  // From the files in `checkpoint_dir`, and the checkpoints there in `kept` (perhaps the same machine's), but for the
  // one in the directory `ignored` ("": all count).
  static absl::StatusOr<std::unique_ptr<RecoveredShard>> From(const CrashFiles& files, const CrashFiles& kept,
                                                              const std::string& checkpoint_dir, std::uint32_t index,
                                                              std::uint32_t num_shards, const std::string& ignored);
  ~RecoveredShard();

  Shard& shard() { return *shard_; }
  const std::string& checkpoint() const { return storage_.checkpoint; }
  // Had a worker left between the record of a chunk of its and the chunk's verdict? The process that saw it did not
  // count that push as a whole one; a replay, which carries out the record before the departure, does (docs/adr/0011).
  bool CutShort();
  // Weights, slots, steps, windows, clocks, tickets, what it holds of the open round: all but statistics. `counts`:
  // also its counts of whole pushes, which differ where CutShort.
  std::string Everything(bool counts);

 private:
  RecoveredShard(std::unique_ptr<CrashFiles> files, std::unique_ptr<CrashFiles> kept)
      : files_(std::move(files)), kept_(std::move(kept)) {}
  // Of those who have left, with what is whole counted.
  std::string DepartedWindows();

  const std::unique_ptr<CrashFiles> files_;
  const std::unique_ptr<CrashFiles> kept_;
  FakeClock clock_;
  PumpedExecutor executor_;
  std::unique_ptr<Shard> shard_;
  ShardFiles storage_;
};

}  // namespace leeway
