// FileCoordinatorStore: the coordinator's state in CHECKPOINT_DIR/coordinator (docs/adr/0012-coordinator-state.md):
// 00000001.log and so on, whose last whole record is the newest state; `manifest`, written once; `lock`. Each record is
// synced. A process begins a new file, and so does a file that is full or has failed; then the older ones go.
//
// Thread safety: as CoordinatorStore's. Callbacks run on the executor, or in line, without a lock.
// Ownership: `files`, `clock` and `executor`, which runs one function at a time, outlive it. Destroy it, and what its
// source uses, after Stop and after the executor has run out.
// Invariants: at every moment the newest file that has a whole record ends with what was saved last, or with something
// newer. Every callback runs once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/files.h"
#include "common/mutex.h"
#include "common/record_log.h"
#include "server/coordinator/coordinator_store.h"

namespace leeway {

class FileCoordinatorStore final : public CoordinatorStore {
 public:
  // After a failure, the write is tried again after this.
  static constexpr absl::Duration kTryAgain = absl::Milliseconds(200);
  // Above this a file is full: some hundred states, and read in an instant.
  static constexpr std::uint64_t kFileBytes = 4 << 20;

  // Locks the folder and reads what an earlier process saved. Errors: the file system's; UNAVAILABLE: another process
  // has the lock; DATA_LOSS, with file, reason and the way out: a file that is torn, damaged, missing or something
  // else.
  static absl::StatusOr<std::unique_ptr<FileCoordinatorStore>> Open(const std::string& checkpoint_dir,
                                                                    FileSystem* files, Clock* clock,
                                                                    Executor* executor);

  struct Saved {
    v1::CoordinatorState state;
    v1::Manifest manifest;  // empty: the state names none
  };
  // What an earlier process saved; nothing: there was none. The first call only.
  std::optional<Saved> TakeSaved();

  // What has changed is written if the disk lets it, but not tried again.
  void Stop();

  void SetSource(Source source) override;
  void SetManifest(v1::Manifest manifest) override;
  void Changed() override;
  void WhenSaved(Done done) override;
  absl::Status Ready() override;

  std::uint64_t writes();  // of the state, that went well

 private:
  FileCoordinatorStore(std::string directory, FileSystem* files, Clock* clock, Executor* executor);

  // The last whole record of a file; nothing: there is none.
  absl::StatusOr<std::optional<v1::CoordinatorFile>> LastOf(const std::string& path) const;
  absl::Status LoadState();
  absl::Status LoadManifest();
  absl::Status WriteManifest(v1::Manifest manifest);
  absl::Status Write(v1::CoordinatorState state);
  void RemoveAllBut(const std::string& name);
  void WriteNewest();
  std::vector<Done> TakeWaiting(std::uint64_t saved) LEEWAY_REQUIRES(mu_);

  const std::string directory_;
  FileSystem* const files_;
  Clock* const clock_;
  Executor* const executor_;
  std::unique_ptr<FileLock> lock_;
  std::optional<Saved> found_;

  // Of the executor.
  std::unique_ptr<RecordWriter> writer_;  // null: none yet, or the last one failed
  std::uint64_t next_file_ = 1;

  Mutex mu_;
  Source source_ LEEWAY_GUARDED_BY(mu_);
  std::optional<v1::Manifest> manifest_ LEEWAY_GUARDED_BY(mu_);  // not written yet
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  bool writing_ LEEWAY_GUARDED_BY(mu_) = false;  // WriteNewest is posted, under way, or waits for a timer
  // Changes, counted. Whoever waits for one that is being written waits for the next write at most.
  std::uint64_t changed_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t saved_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t writes_ LEEWAY_GUARDED_BY(mu_) = 0;
  // Bounded: each is a request that has not been answered, and a coordinator that is not Ready takes no more.
  std::multimap<std::uint64_t, Done> waiting_ LEEWAY_GUARDED_BY(mu_);
  absl::Status failure_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t timer_ LEEWAY_GUARDED_BY(mu_) = 0;
};

}  // namespace leeway
