// RemoteCheckpoints: the checkpoints in shard 0's folder as a file system that is only read. Its root is shard 0's
// address: "HOST:PORT/step-00001234/checkpoint.json".
//
// Thread safety: any thread; every method blocks until shard 0 has answered (CheckpointCalls), which may take as long
// as it takes to start it again. Ownership: `calls` outlives it and what it has opened.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/files.h"
#include "server/checkpoint_calls.h"

namespace leeway {

class RemoteCheckpoints final : public FileSystem {
 public:
  // `go_on`: see CheckpointCalls::Call.
  RemoteCheckpoints(const CheckpointCalls* calls, std::function<bool()> go_on)
      : calls_(calls), go_on_(std::move(go_on)) {}

  const std::string& root() const { return calls_->address(); }

  // Errors of these: as FileSystem's and CheckpointCalls'. INVALID_ARGUMENT: no path in a checkpoint.
  absl::StatusOr<std::string> Read(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  bool Exists(const std::string& path) override;  // the root always does

  // PERMISSION_DENIED.
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<RandomWriteFile>> CreateSized(const std::string& path, std::uint64_t size) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::Status SyncFile(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& directory) override;

 private:
  class File;
  const CheckpointCalls* const calls_;
  const std::function<bool()> go_on_;
};

}  // namespace leeway
