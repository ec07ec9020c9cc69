#include "common/event_file.h"

#include "absl/strings/str_format.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "proto/tensorboard.pb.h"

namespace leeway {
namespace {

// A CRC of bytes that hold CRCs is no good check; so TensorFlow rotates it and adds a constant.
std::uint32_t Masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

template <typename T>
void AppendLittleEndian(T value, std::string* out) {
  for (std::size_t i = 0; i < sizeof(value); ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

}  // namespace

std::string EventFileName(std::int64_t unix_seconds, const std::string& host, int pid, int number) {
  return absl::StrFormat("events.out.tfevents.%010d.%s.%d.%d", unix_seconds, host, pid, number);
}

std::string FramedRecord(const std::string& bytes) {
  std::string record;
  AppendLittleEndian(std::uint64_t{bytes.size()}, &record);
  AppendLittleEndian(Masked(Crc32c(record.data(), record.size())), &record);
  record += bytes;
  AppendLittleEndian(Masked(Crc32c(bytes.data(), bytes.size())), &record);
  return record;
}

absl::StatusOr<std::unique_ptr<EventFile>> EventFile::Create(FileSystem& files, const std::string& path,
                                                             double wall_time) {
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files.Create(path));
  std::unique_ptr<EventFile> events(new EventFile(std::move(file)));
  tensorboard::Event first;
  first.set_wall_time(wall_time);
  first.set_file_version("brain.Event:2");
  RETURN_IF_ERROR(events->Write(first.SerializeAsString()));
  return events;
}

absl::Status EventFile::Append(const Scalars& scalars) {
  tensorboard::Event event;
  event.set_wall_time(scalars.wall_time);
  event.set_step(scalars.step);
  for (const auto& [tag, number] : scalars.values) {
    tensorboard::Summary::Value& value = *event.mutable_summary()->add_value();
    value.set_tag(tag);
    value.set_simple_value(static_cast<float>(number));
  }
  return Write(event.SerializeAsString());
}

absl::Status EventFile::Write(const std::string& event) {
  // One call per record: a process that is killed leaves whole ones behind, and TensorBoard reads while it is written.
  const std::string record = FramedRecord(event);
  RETURN_IF_ERROR(file_->Append(record.data(), record.size()));
  bytes_ += record.size();
  return absl::OkStatus();
}

}  // namespace leeway
