// FileWatch: tells when files have changed, by looking at them every second. Files that are replaced by a rename or
// through a symbolic link, as Kubernetes replaces mounted secrets, count as changed.
//
// Thread safety: construction and destruction from one thread. Callbacks run on the watch's own thread, one at a time;
// they may read files.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"

namespace leeway {

class FileWatch {
 public:
  struct Entry {
    std::vector<std::string> paths;
    // One or more of them: changed, appeared or gone; or this is the `first` look, and nobody knows. False: what is
    // there could not be used; the next look asks again, for it may have been this process that could not read (no file
    // descriptor was left).
    std::function<bool(bool first)> on_change;
  };

  // At the first look, an `interval` from now, every file counts as one that may have changed: nothing is missed that
  // happens between the owner's own reading and this.
  explicit FileWatch(std::vector<Entry> entries, absl::Duration interval = absl::Seconds(1));
  ~FileWatch();  // waits for a callback under way
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  // What tells one state of a file from another; zero: no such file.
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t seconds = 0, nanos = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp Look(const std::string& path);
  void Loop();

  const std::vector<Entry> entries_;
  const absl::Duration interval_;
  std::vector<std::vector<Stamp>> stamps_;  // of entries_; empty before the first look; of the thread

  Mutex mu_;
  CondVar stop_;
  bool stopping_ LEEWAY_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace leeway
