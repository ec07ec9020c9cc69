// EventFile: one of TensorBoard's event files. Its records are framed as TensorFlow frames them: length (8 bytes,
// little-endian), masked CRC32C of the length, the bytes, masked CRC32C of the bytes.
//
// Thread safety: as an int. Ownership: the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"

namespace leeway {

// Values of one step, by tag ("train/loss").
struct Scalars {
  double wall_time = 0;  // Unix seconds
  std::int64_t step = 0;
  std::vector<std::pair<std::string, double>> values;
};

// "events.out.tfevents.0001700000000.host.123.0": the time in 10 digits, so that names sort as times do. TensorBoard
// knows its files by the words in the middle.
std::string EventFileName(std::int64_t unix_seconds, const std::string& host, int pid, int number);

// A record as it lies in the file.
std::string FramedRecord(const std::string& bytes);

class EventFile {
 public:
  // Writes the first record, which says the format's version. The file system's errors.
  static absl::StatusOr<std::unique_ptr<EventFile>> Create(FileSystem& files, const std::string& path,
                                                           double wall_time);

  absl::Status Append(const Scalars& scalars);

  std::uint64_t bytes() const { return bytes_; }

 private:
  explicit EventFile(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}
  absl::Status Write(const std::string& event);

  const std::unique_ptr<WritableFile> file_;
  std::uint64_t bytes_ = 0;
};

}  // namespace leeway
