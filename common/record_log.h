// Record logs: files of records that are appended one after another, for journals. A process that is killed while it
// writes leaves whole records and perhaps the beginning of one more; the reader gives the whole ones. Power that fails
// may leave holes in what was not synced, with whole records behind them: whoever reads knows whether those mean
// damage.
//
// A file is 8 bytes of magic, then records: 4 bytes size, 4 bytes CRC32C of the body, 4 bytes CRC32C of these 8, all
// little-endian, then the body. The reader trusts nothing: a file of any bytes gives records that were written, a torn
// end, or one clear error.
//
// Thread safety: none. Ownership: records that were read keep the file's bytes alive.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/buffer.h"
#include "common/files.h"

namespace leeway {

// Above this a size is taken for damage. A chunk has 4 MiB, and a manifest 16.
inline constexpr std::uint32_t kMaxRecordBytes = 64 << 20;

class RecordWriter {
 public:
  // Creates `path`, or empties it. The file system's errors.
  static absl::StatusOr<std::unique_ptr<RecordWriter>> Create(FileSystem& files, const std::string& path);

  // After an error the file may end within a record, and takes no more. INVALID_ARGUMENT, with nothing written: a body
  // that is empty or larger than kMaxRecordBytes.
  absl::Status Append(const Buffer& body);
  // Hands all that was appended to the system, which keeps it when this process dies.
  absl::Status Flush();
  // Flush, and what it takes to survive the loss of power.
  absl::Status Sync();

  std::uint64_t bytes() const { return bytes_; }  // of the file

 private:
  explicit RecordWriter(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}

  const std::unique_ptr<WritableFile> file_;
  std::string small_;  // appended, not yet handed over: many small records by one write
  std::uint64_t bytes_ = 0;
};

class RecordReader {
 public:
  // The whole file is read: files are kept small (server/journal.h). The file system's errors; DATA_LOSS: not a record
  // log.
  static absl::StatusOr<RecordReader> Open(FileSystem& files, const std::string& path);
  // `bytes` as a file called `path` (for messages).
  static absl::StatusOr<RecordReader> Parse(const std::string& path, std::string bytes);

  // The next record's body, never empty; nothing at the end. DATA_LOSS, with file and offset: damage that is followed
  // by more bytes, so that it is not what a killed writer leaves.
  absl::StatusOr<std::optional<Buffer>> Next();

  // After Next's DATA_LOSS: goes on to the first whole record behind the damage. False: there is none, and this is the
  // end: a torn one.
  bool SkipDamage();

  // After the end: the file ended within a record, which is as if it had not been begun. Before: so does its magic.
  bool torn() const { return torn_; }

 private:
  RecordReader(std::string path, std::shared_ptr<const std::string> bytes)
      : path_(std::move(path)), bytes_(std::move(bytes)) {}
  absl::Status Damage(const std::string& what) const;
  bool ZerosFrom(std::size_t offset) const;
  bool WholeAt(std::size_t offset) const;

  std::string path_;
  std::shared_ptr<const std::string> bytes_;
  std::size_t offset_ = 0;
  bool torn_ = false;
};

}  // namespace leeway
