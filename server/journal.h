// Journal: a shard's inputs on disk, in their order (docs/adr/0011-journal-of-inputs.md). Records are queued by whoever
// has them and written on an executor, all that are queued at once.
//
// Files are DIRECTORY/00000001.log, ...; each process begins a new one, and so does a journal whose file failed or has
// become large.
//
// Thread safety: every method, from any thread; none but RemoveBefore blocks. Callbacks run on the executor, or in
// line, without a lock. Ownership: `files`, `clock` and `executor`, which runs one function at a time, outlive it.
// Destroy it after Stop and after the executor has run out. Invariants: sequence numbers are given in the order of
// Append, without a gap, and written in that order. Every callback runs once: with OK when its record and all before it
// are as safe as the mode makes them, or, after Stop, with the reason why they are not.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/files.h"
#include "common/log_every.h"
#include "common/mutex.h"
#include "common/record_log.h"
#include "proto/journal.pb.h"

namespace leeway {

inline constexpr std::uint32_t kJournalFormat = 1;
// "00000001.log"
std::string JournalFileName(std::uint64_t number);

class Journal {
 public:
  struct Options {
    std::string directory;
    bool fsync = false;        // a record counts as written when it survives the loss of power
    v1::JournalHeader header;  // of each file; format and first_sequence are filled in
    std::uint64_t next_sequence = 1;
    std::uint64_t next_file = 1;                            // lower numbers are used
    std::map<std::uint64_t, std::uint64_t> old_files = {};  // that are there: number, and sequence of the first record
    // Above this a new file is begun: what a reader holds in memory at once.
    std::uint64_t file_bytes = 64 << 20;
    // Of records that wait to be written; above it Ready() refuses. A tenth of a second of a fast disk.
    std::uint64_t max_queued_bytes = 256 << 20;
  };
  static constexpr std::uint64_t kHardenEvery = 4 << 20;  // bytes
  // After a failure, a new file is tried after this.
  static constexpr absl::Duration kTryAgain = absl::Milliseconds(200);

  // Makes the directory and the first file; on a full disk that comes with the first record. With `fsync` the old files
  // of this era are synced before. The file system's errors.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const Options& options, FileSystem* files, Clock* clock,
                                                       Executor* executor);

  // UNAVAILABLE, with the reason: records wait for the disk, and no more should come.
  absl::Status Ready();

  // Queues the record under the next sequence number, which it returns. `payload` is kept until it is written.
  std::uint64_t Append(v1::JournalRecord record, const Buffer& payload = {});

  using Done = std::function<void(const absl::Status&)>;
  // Calls `done` once record `sequence` (0: none) and all before it are written.
  void WhenWritten(std::uint64_t sequence, Done done);

  // Removes the files whose records are all below `sequence`. Blocks on the disk, beside the executor.
  absl::Status RemoveBefore(std::uint64_t sequence);

  // What is queued is written if the disk lets it, but not tried again.
  void Stop();

  std::uint64_t last_sequence();  // that Append returned
  std::uint64_t written();        // the last one that is, with all before it
  std::uint64_t bytes();          // written by this process

 private:
  Journal(const Options& options, FileSystem* files, Clock* clock, Executor* executor);

  struct Queued {
    std::uint64_t sequence = 0;
    Buffer body;
  };

  absl::Status BeginFile(std::uint64_t first_sequence);
  // `written`: of the records, from the first on, those that count as written, also when the others fail.
  absl::Status Write(const std::deque<Queued>& records, std::size_t* written);
  absl::Status Harden();
  void RemoveWorthless(std::uint64_t first_sequence);
  void WriteQueued();
  std::vector<Done> TakeAllWaiting() LEEWAY_REQUIRES(mu_);

  const Options options_;
  FileSystem* const files_;
  Clock* const clock_;
  Executor* const executor_;

  // Of the executor.
  std::unique_ptr<RecordWriter> writer_;  // null: the last one failed
  std::uint64_t next_file_;

  Mutex mu_;
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  std::deque<Queued> queue_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t queued_bytes_ LEEWAY_GUARDED_BY(mu_) = 0;  // with those being written
  bool writing_ LEEWAY_GUARDED_BY(mu_) = false;            // WriteQueued is posted, under way, or waits for a timer
  std::uint64_t next_sequence_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t written_ LEEWAY_GUARDED_BY(mu_);  // records up to here are
  std::uint64_t bytes_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::map<std::uint64_t, std::uint64_t> first_in_file_ LEEWAY_GUARDED_BY(mu_);  // by number
  std::multimap<std::uint64_t, Done> waiting_ LEEWAY_GUARDED_BY(mu_);            // by sequence
  absl::Status failure_ LEEWAY_GUARDED_BY(mu_);
  LogEvery complain_ LEEWAY_GUARDED_BY(mu_){absl::Seconds(10)};
  std::uint64_t timer_ LEEWAY_GUARDED_BY(mu_) = 0;
};

}  // namespace leeway
