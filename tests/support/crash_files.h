// CrashFiles: a file system in memory that can be full, can die at any operation, and then shows what the next process
// finds: all that was handed to the system when only the process died, or only what was synced when the power failed.
// Several machines may share one: each dies by itself, and loses what it has written itself.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/files.h"
#include "tests/support/random.h"

namespace leeway {

class CrashFiles final : public FileSystem {
 public:
  explicit CrashFiles(std::uint64_t seed) : random_(seed), disk_(std::make_shared<Disk>()) {}
  // Another machine with the same files.
  CrashFiles(std::uint64_t seed, const CrashFiles& shared) : random_(seed), disk_(shared.disk_) {}

  // The files as one process of this machine has them: after Restart every operation fails.
  std::unique_ptr<FileSystem> NewProcess();
  // A machine of its own with copies of all files as they are now.
  std::unique_ptr<CrashFiles> Clone() const;

  // Operation number `operation` (counted from 1) is carried out in part, perhaps, and fails; so does every later one.
  void CrashAt(std::uint64_t operation) { crash_at_ = operation; }
  bool crashed() const { return crash_at_ != 0 && operations_ >= crash_at_; }
  std::uint64_t operations() const { return operations_; }

  // With an error: appending (or writing a piece) writes some of its bytes, then fails with it. OK: it goes well again.
  void FailAppends(const absl::Status& status) { append_failure_ = status; }

  // With an error: syncing a file fails with it, and of its bytes nothing more is synced. OK: it goes well again.
  void FailSyncs(const absl::Status& status) { sync_failure_ = status; }

  // All files together hold at most so many bytes.
  void SetCapacity(std::uint64_t bytes) { capacity_ = bytes; }

  // A new process on what is left; nothing crashes until CrashAt. Locks are free.
  enum class Loss { kProcess, kPower };
  void Restart(Loss loss);

  absl::StatusOr<std::string> Read(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<RandomWriteFile>> CreateSized(const std::string& path, std::uint64_t size) override;
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  bool Exists(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::Status SyncFile(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& directory) override;

  // For tests that damage or make a file.
  std::string& Bytes(const std::string& path);

 private:
  struct Piece {
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  struct Node {
    const CrashFiles* writer = nullptr;  // whose loss of power concerns it
    std::string bytes;
    std::string synced;
    bool sized = false;  // written in pieces
    std::vector<Piece> not_synced;
  };
  using Names = std::map<std::string, std::shared_ptr<Node>>;
  struct Disk {
    Names files;    // as running processes see them
    Names durable;  // names that survive the loss of power
    // Who has changed a name since it was last synced: created, renamed or removed it.
    std::map<std::string, const CrashFiles*> changed;
    std::map<std::string, const CrashFiles*> locks;
    // That were made. A folder whose name was not synced is lost with its maker's power, and all that is in it.
    std::set<std::string> folders;
    std::map<std::string, const CrashFiles*> changed_folders;
  };
  class Process;
  class File;
  class SizedFile;
  class OpenFile;
  class Held;

  std::uint64_t Room() const;
  // An error when this operation is the crash's, or comes after it.
  absl::Status Operate(const std::string& what);
  void LosePower(Node& node);
  Node& NewFile(const std::string& path);

  Random random_;
  std::uint64_t crash_at_ = 0;  // 0: never
  std::uint64_t operations_ = 0;
  absl::Status append_failure_;
  absl::Status sync_failure_;
  std::uint64_t capacity_ = UINT64_MAX;
  const std::shared_ptr<Disk> disk_;
  std::uint64_t life_ = 0;  // of processes: what an earlier one still holds is of no use
};

}  // namespace leeway
