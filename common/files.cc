#include "common/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::size_t kReadAtOnce = 1 << 20;

absl::Status ErrnoStatus(const char* what, const std::string& path, int error) {
  const std::string message = absl::StrCat(what, " ", path, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// Opens `path`, whatever signals arrive. The descriptor, or -1 with errno.
int OpenDescriptor(const std::string& path, int flags) {
  int fd;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  while (fd < 0 && errno == EINTR);
  return fd;
}

absl::Status CloseFile(const std::string& path, int& fd) {
  // Linux has released the descriptor whatever close returns: never a second time.
  const int closing = std::exchange(fd, -1);
  return ::close(closing) == 0 || errno == EINTR ? absl::OkStatus() : ErrnoStatus("close", path, errno);
}

class PosixFile final : public WritableFile {
 public:
  PosixFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~PosixFile() override {
    if (fd_ >= 0) ::close(fd_);
  }

  absl::Status Append(const void* data, std::size_t size) override {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(fd_, from, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrnoStatus("write", path_, errno);
      from += written;
      size -= static_cast<std::size_t>(written);
    }
    return absl::OkStatus();
  }

  absl::Status AppendParts(absl::Span<const absl::string_view> parts) override {
    std::vector<iovec> left;
    left.reserve(parts.size());
    for (const absl::string_view part : parts) left.push_back({const_cast<char*>(part.data()), part.size()});
    for (std::size_t next = 0; next < left.size();) {
      const std::size_t count = std::min<std::size_t>(left.size() - next, IOV_MAX);
      const ssize_t result = ::writev(fd_, &left[next], static_cast<int>(count));
      if (result < 0 && errno == EINTR) continue;
      if (result < 0) return ErrnoStatus("writev", path_, errno);
      std::size_t written = static_cast<std::size_t>(result);
      for (; next < left.size() && written >= left[next].iov_len; ++next) written -= left[next].iov_len;
      if (next == left.size()) break;
      left[next].iov_base = static_cast<char*>(left[next].iov_base) + written;
      left[next].iov_len -= written;
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override { return ::fsync(fd_) == 0 ? absl::OkStatus() : ErrnoStatus("fsync", path_, errno); }

  absl::Status Close() override { return CloseFile(path_, fd_); }

 private:
  const std::string path_;
  int fd_;
};

class PosixRandomWriteFile final : public RandomWriteFile {
 public:
  PosixRandomWriteFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~PosixRandomWriteFile() override {
    if (fd_ >= 0) ::close(fd_);
  }

  absl::Status WriteAt(std::uint64_t offset, const void* data, std::size_t size) override {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::pwrite(fd_, from, size, static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrnoStatus("write", path_, errno);
      from += written;
      offset += static_cast<std::uint64_t>(written);
      size -= static_cast<std::size_t>(written);
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override { return ::fsync(fd_) == 0 ? absl::OkStatus() : ErrnoStatus("fsync", path_, errno); }

  absl::Status Close() override { return CloseFile(path_, fd_); }

 private:
  const std::string path_;
  int fd_;
};

class PosixRandomAccessFile final : public RandomAccessFile {
 public:
  PosixRandomAccessFile(std::string path, int fd, std::uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}
  ~PosixRandomAccessFile() override { ::close(fd_); }

  std::uint64_t Size() const override { return size_; }

  absl::Status ReadAt(std::uint64_t offset, std::size_t size, void* out) override {
    char* to = static_cast<char*>(out);
    while (size > 0) {
      const ssize_t got = ::pread(fd_, to, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoStatus("read", path_, errno);
      if (got == 0) return absl::DataLossError(absl::StrCat("read ", path_, ": it ends at byte ", offset));
      to += got;
      offset += static_cast<std::uint64_t>(got);
      size -= static_cast<std::size_t>(got);
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const int fd_;
  const std::uint64_t size_;
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}
  ~PosixLock() override { ::close(fd_); }

 private:
  const int fd_;
};

class PosixFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::string> Read(const std::string& path) override {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) return ErrnoStatus("read", path, errno);
    // A pipe would block and a device never end.
    if (!S_ISREG(info.st_mode)) return absl::UnavailableError(absl::StrCat("read ", path, ": not a regular file"));
    const int fd = OpenDescriptor(path, O_RDONLY);
    if (fd < 0) return ErrnoStatus("read", path, errno);
    // To the end, not to the size: files under /proc say 0, and others may have grown.
    std::string bytes;
    std::size_t used = 0;
    ssize_t got = 0;
    do {
      const std::size_t expected = static_cast<std::size_t>(info.st_size) + 1;  // one more, to see the end at once
      if (used == bytes.size()) bytes.resize(used < expected ? expected : used + kReadAtOnce);
      got = ::read(fd, bytes.data() + used, bytes.size() - used);
      if (got > 0) used += static_cast<std::size_t>(got);
    } while (got > 0 || (got < 0 && errno == EINTR));
    const int error = errno;
    ::close(fd);
    if (got < 0) return ErrnoStatus("read", path, error);
    bytes.resize(used);
    return bytes;
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    const int fd = OpenDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) return ErrnoStatus("create", path, errno);
    return std::make_unique<PosixFile>(path, fd);
  }

  absl::StatusOr<std::unique_ptr<RandomWriteFile>> CreateSized(const std::string& path, std::uint64_t size) override {
    const int fd = OpenDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) return ErrnoStatus("create", path, errno);
    auto file = std::make_unique<PosixRandomWriteFile>(path, fd);
    // A full disk is known now, not after the last piece, where the file system can tell. Where it cannot, the size is
    // set alone.
    int error = 0;
    if (size > 0 && ::fallocate(fd, 0, 0, static_cast<off_t>(size)) != 0) error = errno;
    if (error == EOPNOTSUPP || error == ENOSYS || error == EINTR) {
      error = ::ftruncate(fd, static_cast<off_t>(size)) == 0 ? 0 : errno;
    }
    if (error != 0) return ErrnoStatus("make room for", path, error);
    return file;
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path) override {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) return ErrnoStatus("open", path, errno);
    if (!S_ISREG(info.st_mode)) return absl::UnavailableError(absl::StrCat("open ", path, ": not a regular file"));
    const int fd = OpenDescriptor(path, O_RDONLY);
    if (fd < 0) return ErrnoStatus("open", path, errno);
    return std::make_unique<PosixRandomAccessFile>(path, fd, static_cast<std::uint64_t>(info.st_size));
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus("rename", absl::StrCat(from, " to ", to), errno);
  }

  absl::Status Remove(const std::string& path) override {
    return std::remove(path.c_str()) == 0 ? absl::OkStatus() : ErrnoStatus("remove", path, errno);
  }

  absl::Status MakeDirectories(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    return error ? ErrnoStatus("make directory", path, error.value()) : absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    DIR* dir = ::opendir(directory.c_str());
    if (dir == nullptr) return ErrnoStatus("list", directory, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(dir);
    if (error != 0) return ErrnoStatus("list", directory, error);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    const int fd = OpenDescriptor(path, O_RDWR | O_CREAT);
    if (fd < 0) return ErrnoStatus("lock", path, errno);
    int result;
    do result = ::flock(fd, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    if (result == 0) return std::make_unique<PosixLock>(fd);
    const int error = errno;
    ::close(fd);
    if (error == EWOULDBLOCK) return absl::UnavailableError(absl::StrCat("lock ", path, ": another process has it"));
    return ErrnoStatus("lock", path, error);
  }

  absl::Status SyncFile(const std::string& path) override {
    const int fd = OpenDescriptor(path, O_RDONLY);
    if (fd < 0) return ErrnoStatus("sync", path, errno);
    const int error = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    return error == 0 ? absl::OkStatus() : ErrnoStatus("sync", path, error);
  }

  absl::Status SyncDirectory(const std::string& directory) override {
    const int fd = OpenDescriptor(directory, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return ErrnoStatus("sync directory", directory, errno);
    // Some file systems cannot sync a directory and say EINVAL; they order renames by themselves.
    const int error = ::fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    ::close(fd);
    return error == 0 ? absl::OkStatus() : ErrnoStatus("sync directory", directory, error);
  }
};

// "." of a name alone.
std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

absl::Status WriteAside(FileSystem& files, const std::string& path, absl::Span<const absl::string_view> parts) {
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, files.Create(path));
  RETURN_IF_ERROR(file->AppendParts(parts));
  RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

}  // namespace

absl::Status WritableFile::AppendParts(absl::Span<const absl::string_view> parts) {
  for (const absl::string_view part : parts) RETURN_IF_ERROR(Append(part.data(), part.size()));
  return absl::OkStatus();
}

FileSystem& RealFileSystem() {
  static auto* files = new PosixFileSystem;  // never destroyed: threads may outlive main
  return *files;
}

absl::Status WriteAtomically(FileSystem& files, const std::string& path, absl::Span<const absl::string_view> parts) {
  const std::string aside = absl::StrCat(path, ".tmp");
  absl::Status status = WriteAside(files, aside, parts);
  if (status.ok()) status = files.Rename(aside, path);
  if (!status.ok()) {
    files.Remove(aside).IgnoreError();  // the first error is the one to tell
    return status;
  }
  return files.SyncDirectory(ParentOf(path));
}

absl::Status MakeDurableDirectories(FileSystem& files, const std::string& directory) {
  std::vector<std::string> made = {directory};  // the innermost first
  for (std::string path = ParentOf(directory); path != ParentOf(path) && !files.Exists(path); path = ParentOf(path)) {
    made.push_back(path);
  }
  RETURN_IF_ERROR(files.MakeDirectories(directory));
  for (auto path = made.rbegin(); path != made.rend(); ++path) {
    RETURN_IF_ERROR(files.SyncDirectory(ParentOf(*path)));
  }
  return absl::OkStatus();
}

absl::Status WriteAtomically(FileSystem& files, const std::string& path, const std::string& contents) {
  const absl::string_view part = contents;
  return WriteAtomically(files, path, absl::MakeConstSpan(&part, 1));
}

}  // namespace leeway
