// TensorBoardLog: curves for TensorBoard. A thread of its own asks every `interval` for numbers and appends them to an
// event file, so that a slow disk holds up nobody: what is not written is not kept, and there is no queue.
//
// Thread safety: construction and destruction from one thread. Ownership: `files` outlives it.
// Invariants: `directory` holds at most `max_files` files of this process, of about `max_file_bytes` each; when another
// one is begun, the oldest is removed. A failure is logged every 10 s at most, and a new file is tried at the next
// interval.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "common/event_file.h"
#include "common/files.h"
#include "common/log_every.h"
#include "common/mutex.h"

namespace leeway {

class TensorBoardLog {
 public:
  struct Options {
    std::string directory;
    absl::Duration interval = absl::Seconds(1);
    // A record of ten values takes about 300 bytes: a file of this size holds some 15 hours, all files five days.
    std::uint64_t max_file_bytes = 16 << 20;
    std::size_t max_files = 8;
  };
  // The numbers at this moment, all but their time; nothing: none to write. Called on the log's thread, and a last time
  // in the destructor.
  using Sampler = std::function<std::optional<Scalars>()>;

  TensorBoardLog(const Options& options, FileSystem* files, Sampler sampler);
  // Writes what there is at the end.
  ~TensorBoardLog();

 private:
  void Loop();
  void WriteSample();
  absl::Status Append(const Scalars& scalars);
  absl::Status BeginFile(double wall_time);

  const Options options_;
  FileSystem* const files_;
  const Sampler sampler_;

  // Of the thread.
  std::unique_ptr<EventFile> file_;  // null: none yet, or the last one failed
  std::deque<std::string> paths_;    // of this process's files, the oldest first
  int begun_ = 0;                    // files
  LogEvery complain_{absl::Seconds(10)};

  Mutex mu_;
  CondVar changed_;
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses all of the above
};

// `name` as a folder's name: letters, digits, '.', '-' and '_', not beginning with a dot; never empty.
std::string FolderName(const std::string& name);

}  // namespace leeway
