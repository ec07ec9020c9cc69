#include "common/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "tests/catch.h"

namespace {

std::vector<std::string>* synced = nullptr;  // the paths of what is synced, where a test wants to know

}  // namespace

// Stands before the C library's.
extern "C" int fsync(int fd) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  if (synced != nullptr) synced->push_back(std::filesystem::read_symlink(link).string());
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace leeway {
namespace {

// A directory of its own for each test, removed with it.
class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeway_files_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string ReadOrDie(const std::string& path) {
  const absl::StatusOr<std::string> bytes = RealFileSystem().Read(path);
  REQUIRE(bytes.ok());
  return *bytes;
}

void WriteOrDie(const std::string& path, const std::string& contents) {
  REQUIRE(WriteAtomically(RealFileSystem(), path, contents).ok());
}

// The code, and a message that names the path and the system's reason.
void CheckError(const absl::Status& status, absl::StatusCode code, const std::string& path, const std::string& reason) {
  CAPTURE(status.ToString());
  CHECK(status.code() == code);
  CHECK(absl::StrContains(status.message(), path));
  CHECK(absl::StrContains(status.message(), reason));
}

// A file system whose nth operation fails, and that writes what it is asked into a log.
class FailingFiles final : public FileSystem {
 public:
  explicit FailingFiles(int fail_at) : fail_at_(fail_at) {}

  absl::Status Next(const std::string& what) {
    log_.push_back(what);
    return static_cast<int>(log_.size()) == fail_at_ ? absl::ResourceExhaustedError(what + " failed")
                                                     : absl::OkStatus();
  }

  absl::StatusOr<std::string> Read(const std::string& path) override { return RealFileSystem().Read(path); }
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    if (absl::Status status = Next("create"); !status.ok()) return status;
    auto file = RealFileSystem().Create(path);
    REQUIRE(file.ok());
    return std::make_unique<File>(*this, *std::move(file));
  }
  absl::StatusOr<std::unique_ptr<RandomWriteFile>> CreateSized(const std::string& path, std::uint64_t size) override {
    return RealFileSystem().CreateSized(path, size);
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path) override {
    return RealFileSystem().Open(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    const absl::Status status = Next("rename");
    return status.ok() ? RealFileSystem().Rename(from, to) : status;
  }
  absl::Status Remove(const std::string& path) override { return RealFileSystem().Remove(path); }
  absl::Status MakeDirectories(const std::string& path) override { return RealFileSystem().MakeDirectories(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    return RealFileSystem().List(path);
  }
  bool Exists(const std::string& path) override { return RealFileSystem().Exists(path); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    return RealFileSystem().Lock(path);
  }
  absl::Status SyncFile(const std::string& path) override { return RealFileSystem().SyncFile(path); }
  absl::Status SyncDirectory(const std::string& path) override {
    const absl::Status status = Next("sync directory");
    return status.ok() ? RealFileSystem().SyncDirectory(path) : status;
  }

  const std::vector<std::string>& log() const { return log_; }

 private:
  struct File final : WritableFile {
    File(FailingFiles& files, std::unique_ptr<WritableFile> real) : files_(files), real_(std::move(real)) {}
    absl::Status Append(const void* data, std::size_t size) override {
      const absl::Status status = files_.Next("append");
      return status.ok() ? real_->Append(data, size) : status;
    }
    absl::Status Sync() override {
      const absl::Status status = files_.Next("sync");
      return status.ok() ? real_->Sync() : status;
    }
    absl::Status Close() override {
      const absl::Status status = files_.Next("close");
      return status.ok() ? real_->Close() : status;
    }
    FailingFiles& files_;
    const std::unique_ptr<WritableFile> real_;
  };

  const int fail_at_;
  std::vector<std::string> log_;
};

TEST_CASE("files: what is synced is synced by the system") {
  TempDirectory dir;
  using Paths = std::vector<std::string>;
  Paths paths;
  synced = &paths;
  FileSystem& files = RealFileSystem();
  const std::unique_ptr<WritableFile> appended = *files.Create(dir / "appended");
  CHECK(appended->Append("x", 1).ok());
  CHECK(paths.empty());
  CHECK(appended->Sync().ok());
  const std::unique_ptr<RandomWriteFile> sized = *files.CreateSized(dir / "sized", 1);
  CHECK(sized->WriteAt(0, "x", 1).ok());
  CHECK(sized->Sync().ok());
  CHECK(files.SyncFile(dir / "appended").ok());
  CHECK(files.SyncDirectory(dir.path()).ok());
  const std::string real = std::filesystem::canonical(dir.path()).string();
  CHECK(paths == Paths{real + "/appended", real + "/sized", real + "/appended", real});
  paths.clear();
  WriteOrDie(dir / "whole", "x");
  CHECK(paths == Paths{real + "/whole.tmp", real});
  synced = nullptr;
}

TEST_CASE("files: parts are written one after the other, more of them than one call takes") {
  TempDirectory dir;
  std::vector<std::string> pieces;
  std::string all;
  for (std::size_t i = 0; i < 3000; ++i) {
    pieces.emplace_back(i * 7 % 500, static_cast<char>('a' + i % 26));  // some are empty
    all += pieces.back();
  }
  auto file = RealFileSystem().Create(dir / "parts");
  REQUIRE(file.ok());
  CHECK((*file)->AppendParts({}).ok());
  CHECK((*file)->AppendParts(std::vector<absl::string_view>(pieces.begin(), pieces.end())).ok());
  CHECK((*file)->AppendParts({"", ""}).ok());
  CHECK((*file)->Append("end", 3).ok());
  CHECK((*file)->Close().ok());
  CHECK(ReadOrDie(dir / "parts") == all + "end");
}

TEST_CASE("files: what is written is read, listed, renamed, removed") {
  TempDirectory dir;
  FileSystem& files = RealFileSystem();
  const std::string big(3'000'001, 'x');
  auto file = files.Create(dir / "b");
  REQUIRE(file.ok());
  CHECK((*file)->Append("head ", 5).ok());
  CHECK((*file)->Append(nullptr, 0).ok());
  CHECK((*file)->Append(big.data(), big.size()).ok());
  CHECK((*file)->Sync().ok());
  CHECK((*file)->Close().ok());
  CHECK(ReadOrDie(dir / "b") == "head " + big);

  WriteOrDie(dir / "a", "");
  CHECK(ReadOrDie(dir / "a").empty());
  CHECK(files.Rename(dir / "a", dir / "c").ok());
  CHECK(files.MakeDirectories(dir / "d/e/f").ok());
  CHECK(files.MakeDirectories(dir / "d/e/f").ok());  // there already
  CHECK(files.SyncDirectory(dir / "d").ok());
  CHECK(*files.List(dir.path()) == std::vector<std::string>{"b", "c", "d"});
  CHECK(files.Exists(dir / "c"));
  CHECK(!files.Exists(dir / "a"));
  CHECK(files.Remove(dir / "c").ok());
  CHECK(files.Remove(dir / "d/e/f").ok());  // an empty directory
  CHECK(!files.Exists(dir / "c"));
  CHECK(!files.Exists(dir / "d/e/f"));
}

TEST_CASE("files: Create empties a file that was there") {
  TempDirectory dir;
  WriteOrDie(dir / "a", "a long text");
  { REQUIRE(RealFileSystem().Create(dir / "a").ok()); }  // closed by the destructor
  CHECK(ReadOrDie(dir / "a").empty());
}

TEST_CASE("files: Read takes a file of unknown size") {
  const absl::StatusOr<std::string> status = RealFileSystem().Read("/proc/self/status");
  REQUIRE(status.ok());
  CHECK(absl::StrContains(*status, "Pid:"));
}

TEST_CASE("files: missing paths are NOT_FOUND") {
  TempDirectory dir;
  FileSystem& files = RealFileSystem();
  const std::string missing = dir / "no/such";
  const auto not_found = absl::StatusCode::kNotFound;
  CheckError(files.Read(missing).status(), not_found, missing, "No such file");
  CheckError(files.Create(missing).status(), not_found, missing, "No such file");
  CheckError(files.Rename(missing, dir / "x"), not_found, missing, "No such file");
  CheckError(files.Remove(missing), not_found, missing, "No such file");
  CheckError(files.List(missing).status(), not_found, missing, "No such file");
  CheckError(files.SyncDirectory(missing), not_found, missing, "No such file");
  CheckError(WriteAtomically(files, missing, "x"), not_found, missing, "No such file");
}

TEST_CASE("files: a directory is no file, a file no directory, a pipe neither") {
  TempDirectory dir;
  FileSystem& files = RealFileSystem();
  const auto unavailable = absl::StatusCode::kUnavailable;
  CheckError(files.Read(dir.path()).status(), unavailable, dir.path(), "not a regular file");
  CheckError(files.Create(dir.path()).status(), unavailable, dir.path(), "Is a directory");
  REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CheckError(files.Read(dir / "pipe").status(), unavailable, dir / "pipe", "not a regular file");

  WriteOrDie(dir / "file", "x");
  CheckError(files.List(dir / "file").status(), unavailable, dir / "file", "Not a directory");
  CheckError(files.MakeDirectories(dir / "file/below"), unavailable, dir / "file/below", "Not a directory");
  CheckError(files.SyncDirectory(dir / "file"), unavailable, dir / "file", "Not a directory");

  REQUIRE(files.MakeDirectories(dir / "full/of").ok());
  CheckError(files.Remove(dir / "full"), unavailable, dir / "full", "not empty");
  CheckError(WriteAtomically(files, dir / "full", "x"), unavailable, dir / "full", "Is a directory");
  CHECK(!files.Exists(dir / "full.tmp"));
}

TEST_CASE("files: what may not be touched is PERMISSION_DENIED") {
  TempDirectory dir;
  const auto denied = absl::StatusCode::kPermissionDenied;
  // Root may write anywhere but here: to /proc nobody may.
  const std::string path = ::geteuid() == 0 ? "/proc/self/status" : dir / "readonly/file";
  if (::geteuid() != 0) {
    REQUIRE(RealFileSystem().MakeDirectories(dir / "readonly").ok());
    REQUIRE(::chmod((dir / "readonly").c_str(), 0555) == 0);
  }
  CheckError(RealFileSystem().Remove(path), denied, path, "ermi");  // "Permission denied", "not permitted"
}

TEST_CASE("files: a full disk is RESOURCE_EXHAUSTED") {
  auto file = RealFileSystem().Create("/dev/full");
  REQUIRE(file.ok());
  CheckError((*file)->Append("x", 1), absl::StatusCode::kResourceExhausted, "/dev/full", "No space left");
  CheckError((*file)->AppendParts({"x", "y"}), absl::StatusCode::kResourceExhausted, "/dev/full", "No space left");
}

TEST_CASE("WriteAtomically: aside, sync, close, rename, sync of the directory, in this order") {
  TempDirectory dir;
  FailingFiles files(/*fail_at=*/0);
  const std::vector<absl::string_view> parts = {"one, ", "", "two"};
  CHECK(WriteAtomically(files, dir / "a", parts).ok());
  CHECK(files.log() ==
        std::vector<std::string>{"create", "append", "append", "append", "sync", "close", "rename", "sync directory"});
  CHECK(ReadOrDie(dir / "a") == "one, two");
  CHECK(*files.List(dir.path()) == std::vector<std::string>{"a"});
}

TEST_CASE("WriteAtomically: whatever fails, the old file stands or the new one, whole") {
  for (int fail_at = 1; fail_at <= 6; ++fail_at) {
    TempDirectory dir;
    WriteOrDie(dir / "a", "old");
    FailingFiles files(fail_at);
    const absl::Status status = WriteAtomically(files, dir / "a", "new");
    CAPTURE(fail_at, status.ToString());
    CHECK(status.code() == absl::StatusCode::kResourceExhausted);
    CHECK(static_cast<int>(files.log().size()) == fail_at);
    CHECK(ReadOrDie(dir / "a") == (fail_at <= 5 ? "old" : "new"));  // the sixth: renamed, but not yet safe
    CHECK(*files.List(dir.path()) == std::vector<std::string>{"a"});
  }
}

TEST_CASE("WriteAtomically: a name without a directory is in the current one") {
  TempDirectory dir;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(dir.path());
  const absl::Status status = WriteAtomically(RealFileSystem(), "here", "x");
  std::filesystem::current_path(before);
  CHECK(status.ok());
  CHECK(ReadOrDie(dir / "here") == "x");
}

TEST_CASE("files: a lock has one holder") {
  TempDirectory dir;
  FileSystem& files = RealFileSystem();
  absl::StatusOr<std::unique_ptr<FileLock>> lock = files.Lock(dir / "lock");
  REQUIRE(lock.ok());
  CheckError(files.Lock(dir / "lock").status(), absl::StatusCode::kUnavailable, dir / "lock", "another process has it");
  lock->reset();
  CHECK(files.Lock(dir / "lock").ok());
  CheckError(files.Lock(dir / "no/lock").status(), absl::StatusCode::kNotFound, dir / "no/lock", "No such file");
}

TEST_CASE("files: pieces that several threads write, in any order, are where they belong") {
  TempDirectory dir;
  constexpr std::size_t kPiece = 70'001, kPieces = 24;
  const auto file = RealFileSystem().CreateSized(dir / "sized", kPiece * kPieces + 3);
  REQUIRE(file.ok());
  CHECK(ReadOrDie(dir / "sized") == std::string(kPiece * kPieces + 3, '\0'));
  std::vector<absl::Status> results(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = kPieces; i-- > 0;) {
        if (i % results.size() != t) continue;
        const std::string piece(kPiece, static_cast<char>('a' + i));
        results[t].Update((*file)->WriteAt(i * kPiece, piece.data(), piece.size()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) CHECK(result.ok());
  CHECK((*file)->Sync().ok());
  CHECK((*file)->Close().ok());

  const auto open = RealFileSystem().Open(dir / "sized");
  REQUIRE(open.ok());
  CHECK((*open)->Size() == kPiece * kPieces + 3);
  std::string read(kPiece, '?');
  for (std::size_t i = 0; i < kPieces; ++i) {
    REQUIRE((*open)->ReadAt(i * kPiece, kPiece, read.data()).ok());
    CHECK(read == std::string(kPiece, static_cast<char>('a' + i)));
  }
  CHECK((*open)->ReadAt(kPiece * kPieces, 3, read.data()).ok());
  CHECK(read.substr(0, 3) == std::string(3, '\0'));
  CheckError((*open)->ReadAt(kPiece * kPieces, 4, read.data()), absl::StatusCode::kDataLoss, dir / "sized", "ends at");

  // Shorter than what was there: nothing of it shows.
  REQUIRE(RealFileSystem().CreateSized(dir / "sized", 5).ok());
  CHECK(ReadOrDie(dir / "sized") == std::string(5, '\0'));
  CHECK(RealFileSystem().CreateSized(dir / "empty", 0).ok());
  CHECK(ReadOrDie(dir / "empty").empty());
}

TEST_CASE("files: what cannot be opened or has no room is refused by path and reason") {
  TempDirectory dir;
  CheckError(RealFileSystem().Open(dir / "none").status(), absl::StatusCode::kNotFound, dir / "none", "No such file");
  CheckError(RealFileSystem().Open(dir / "").status(), absl::StatusCode::kUnavailable, dir / "", "not a regular file");
  CheckError(RealFileSystem().CreateSized(dir / "no/file", 1).status(), absl::StatusCode::kNotFound, dir / "no/file",
             "No such file");
  // More than any disk has: known before the first piece is written.
  CHECK_FALSE(RealFileSystem().CreateSized(dir / "huge", std::uint64_t{1} << 62).ok());
}

}  // namespace
}  // namespace leeway
