// CrashFiles: a file system in memory that can be full, can die at any operation, and then shows what the next process
// finds: all that was handed to the system when only the process died, or only what was synced when the power failed.
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
  explicit CrashFiles(std::uint64_t seed) : random_(seed) {}

  // Operation number `operation` (counted from 1) is carried out in part, perhaps, and fails; so does every later one.
  void CrashAt(std::uint64_t operation) { crash_at_ = operation; }
  bool crashed() const { return crash_at_ != 0 && operations_ >= crash_at_; }
  std::uint64_t operations() const { return operations_; }

  // With an error: appending (or writing a piece) writes some of its bytes, then fails with it. OK: it goes well again.
  void FailAppends(const absl::Status& status) { append_failure_ = status; }

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
  absl::Status MakeDirectories(const std::string&) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  bool Exists(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& directory) override;

  // For tests that damage or make a file.
  std::string& Bytes(const std::string& path);

 private:
  struct Piece {
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  struct Node {
    std::string bytes;
    std::string synced;
    bool sized = false;  // written in pieces
    std::vector<Piece> not_synced;
  };
  using Names = std::map<std::string, std::shared_ptr<Node>>;
  class File;
  class SizedFile;
  class OpenFile;
  class Held;

  std::uint64_t Room() const;
  // An error when this operation is the crash's, or comes after it.
  absl::Status Operate(const std::string& what);
  void LosePower(Node& node);

  Random random_;
  std::uint64_t crash_at_ = 0;  // 0: never
  std::uint64_t operations_ = 0;
  absl::Status append_failure_;
  std::uint64_t capacity_ = UINT64_MAX;
  Names files_;    // as the running process sees them
  Names durable_;  // names that survive the loss of power
  std::set<std::string> locks_;
  std::uint64_t life_ = 0;  // of processes: what an earlier one still holds is of no use
};

}  // namespace leeway
