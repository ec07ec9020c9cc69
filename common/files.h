// FileSystem: the seam for files. What must survive a crash is written through it, so that tests and the
// simulator can fail or cut any operation.
//
// Thread safety: any thread; calls on the same path must not overlap.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leeway {

// An open file that is written from its beginning to its end.
class WritableFile {
 public:
  virtual ~WritableFile() = default;  // closes, without a sync

  virtual absl::Status Append(const void* data, std::size_t size) = 0;
  // The parts one after the other; as few calls to the system as it allows.
  virtual absl::Status AppendParts(absl::Span<const absl::string_view> parts);
  virtual absl::Status Sync() = 0;   // fsync: the bytes survive the loss of power
  virtual absl::Status Close() = 0;  // at most once; no call after it
};

// An open file of a size that was fixed first, whose pieces are written as they come.
//
// Thread safety: WriteAt from any threads at once, on pieces that do not overlap; Sync and Close when they are back.
class RandomWriteFile {
 public:
  virtual ~RandomWriteFile() = default;  // closes, without a sync

  virtual absl::Status WriteAt(std::uint64_t offset, const void* data, std::size_t size) = 0;
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;  // at most once; no call after it
};

// An open file that is read piece by piece.
//
// Thread safety: any thread.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;

  virtual std::uint64_t Size() const = 0;  // when it was opened
  // Exactly `size` bytes. DATA_LOSS: the file ends before.
  virtual absl::Status ReadAt(std::uint64_t offset, std::size_t size, void* out) = 0;
};

// Held until it is destroyed, or the process ends in whatever way.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// Errors: NOT_FOUND (no such path), PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full), else UNAVAILABLE;
// each message carries the path and the system's reason.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::string> Read(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) = 0;
  // `path` anew, with `size` zero bytes, for which there is room on the disk.
  virtual absl::StatusOr<std::unique_ptr<RandomWriteFile>> CreateSized(const std::string& path, std::uint64_t size) = 0;
  virtual absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;
  virtual absl::Status MakeDirectories(const std::string& path) = 0;  // not synced: see MakeDurableDirectories
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;  // names, sorted
  virtual bool Exists(const std::string& path) = 0;
  // A lock that one holder has at a time, on file `path`, which is made if need be. UNAVAILABLE: another has it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  // Makes what file `path` holds survive the loss of power, whoever has written it.
  virtual absl::Status SyncFile(const std::string& path) = 0;
  // Makes a rename or a creation inside `directory` survive the loss of power.
  virtual absl::Status SyncDirectory(const std::string& directory) = 0;
};

FileSystem& RealFileSystem();

// Writes `contents` so that `path` holds either what it held or all of `contents`: aside (`path`.tmp), fsync, rename.
absl::Status WriteAtomically(FileSystem& files, const std::string& path, const std::string& contents);

// The same with the contents in parts, which are written one after the other and never copied together.
absl::Status WriteAtomically(FileSystem& files, const std::string& path, absl::Span<const absl::string_view> parts);

// Makes `directory` and what is missing above it, so that all of it survives the loss of power.
absl::Status MakeDurableDirectories(FileSystem& files, const std::string& directory);

}  // namespace leeway
