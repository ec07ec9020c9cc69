#include "common/status_macros.h"
#include "tests/support/crash_files.h"

namespace leeway {

class CrashFiles::Process final : public FileSystem {
 public:
  explicit Process(CrashFiles* files) : files_(files), life_(files->life_) {}

  absl::StatusOr<std::string> Read(const std::string& path) override {
    RETURN_IF_ERROR(Alive());
    return files_->Read(path);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    RETURN_IF_ERROR(Alive());
    return files_->Create(path);
  }
  absl::StatusOr<std::unique_ptr<RandomWriteFile>> CreateSized(const std::string& path, std::uint64_t size) override {
    RETURN_IF_ERROR(Alive());
    return files_->CreateSized(path, size);
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path) override {
    RETURN_IF_ERROR(Alive());
    return files_->Open(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    RETURN_IF_ERROR(Alive());
    return files_->Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    RETURN_IF_ERROR(Alive());
    return files_->Remove(path);
  }
  absl::Status MakeDirectories(const std::string& path) override {
    RETURN_IF_ERROR(Alive());
    return files_->MakeDirectories(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    RETURN_IF_ERROR(Alive());
    return files_->List(directory);
  }
  bool Exists(const std::string& path) override { return files_->Exists(path); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    RETURN_IF_ERROR(Alive());
    return files_->Lock(path);
  }
  absl::Status SyncFile(const std::string& path) override {
    RETURN_IF_ERROR(Alive());
    return files_->SyncFile(path);
  }
  absl::Status SyncDirectory(const std::string& directory) override {
    RETURN_IF_ERROR(Alive());
    return files_->SyncDirectory(directory);
  }

 private:
  absl::Status Alive() const {
    return life_ == files_->life_ ? absl::OkStatus() : absl::UnavailableError("this process is dead");
  }

  CrashFiles* const files_;
  const std::uint64_t life_;
};

std::unique_ptr<FileSystem> CrashFiles::NewProcess() { return std::make_unique<Process>(this); }

}  // namespace leeway
