#include "common/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace leeway {

LogFile::~LogFile() {
  MutexLock lock(mu_);
  if (fd_ >= 0) close(fd_);
}

absl::Status LogFile::Open() {
  MutexLock lock(mu_);
  return OpenLocked();
}

absl::Status LogFile::OpenLocked() {
  // Appending: what others write is not overwritten, and after a truncation there is no hole at the beginning.
  const int fd = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(path_, ": ", std::strerror(errno)));
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  return absl::OkStatus();
}

void LogFile::Rotate() {
  for (int i = kept_ - 1; i >= 1; --i) {
    std::rename(absl::StrCat(path_, ".", i).c_str(), absl::StrCat(path_, ".", i + 1).c_str());
  }
  std::rename(path_.c_str(), absl::StrCat(path_, ".1").c_str());
}

void LogFile::Append(const char* line, std::size_t size) {
  MutexLock lock(mu_);
  struct stat named {};
  struct stat opened {};
  // Two calls of the system per line, so that nobody needs to be told that the file was moved away.
  const bool there = stat(path_.c_str(), &named) == 0;
  const bool same =
      there && fd_ >= 0 && fstat(fd_, &opened) == 0 && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
  bool reopen = !same;
  if (there && max_bytes_ > 0 && named.st_size > 0 && static_cast<std::uint64_t>(named.st_size) + size > max_bytes_) {
    Rotate();
    reopen = true;
  }
  // Where it cannot be opened anew (the folder is gone, or read-only), the old file is better than none.
  if (reopen) OpenLocked().IgnoreError();
  while (fd_ >= 0 && size > 0) {
    const ssize_t written = write(fd_, line, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    line += written;
    size -= static_cast<std::size_t>(written);
  }
}

}  // namespace leeway
