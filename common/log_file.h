// LogFile: a file that a log is appended to, for as long as a process runs. It may be moved, removed or emptied
// meanwhile (logrotate with `create` or `copytruncate`): the next line goes to the file that has the name then. With
// `max_bytes` it makes room itself: FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on; the oldest is removed.
//
// Thread safety: any thread. Ownership: the file descriptor.
// Invariant: a line is never split between two files. Without max_bytes several processes may append to one file; with
// it each needs one of its own.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/mutex.h"

namespace leeway {

class LogFile {
 public:
  // `max_bytes` 0: no limit. `kept`: how many older files stay, at least 1.
  LogFile(std::string path, std::uint64_t max_bytes, int kept)
      : path_(std::move(path)), max_bytes_(max_bytes), kept_(kept) {}
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  // UNAVAILABLE with the system's reason: it cannot be opened.
  absl::Status Open();

  // Where there is no room, or no file can be opened, the line is lost: a log must not stop what it tells of.
  void Append(const char* line, std::size_t size);

 private:
  absl::Status OpenLocked() LEEWAY_REQUIRES(mu_);
  void Rotate() LEEWAY_REQUIRES(mu_);

  const std::string path_;
  const std::uint64_t max_bytes_;
  const int kept_;
  Mutex mu_;
  int fd_ LEEWAY_GUARDED_BY(mu_) = -1;
};

}  // namespace leeway
