#include "common/record_log.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr char kMagic[] = "LWYLOG1\n";
constexpr std::size_t kMagicBytes = sizeof(kMagic) - 1;
constexpr std::size_t kHeadBytes = 12;
constexpr std::size_t kSmall = 64 << 10;  // larger records are written from where they lie

std::uint32_t GetU32(const char* from) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = (value << 8) | static_cast<unsigned char>(from[i]);
  return value;
}

void PutU32(std::uint32_t value, char* to) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<char>(value >> (8 * i));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordWriter>> RecordWriter::Create(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files.Create(path));
  std::unique_ptr<RecordWriter> writer(new RecordWriter(std::move(file)));
  writer->small_.append(kMagic, kMagicBytes);
  writer->bytes_ = kMagicBytes;
  return writer;
}

absl::Status RecordWriter::Append(const Buffer& body) {
  if (body.empty() || body.size() > kMaxRecordBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a record of ", body.size(), " bytes; allowed are 1 to ", kMaxRecordBytes));
  }
  std::uint32_t crc = 0;
  for (const Buffer::Slice& slice : body.slices()) crc = Crc32c(slice.data, slice.size, crc);
  char head[kHeadBytes];
  PutU32(static_cast<std::uint32_t>(body.size()), head);
  PutU32(crc, head + 4);
  PutU32(Crc32c(head, 8), head + 8);
  small_.append(head, sizeof(head));
  bytes_ += sizeof(head) + body.size();
  if (body.size() <= kSmall) {
    for (const Buffer::Slice& slice : body.slices()) small_.append(slice.data, slice.size);
    return small_.size() > kSmall ? Flush() : absl::OkStatus();
  }
  std::vector<absl::string_view> parts = {small_};
  for (const Buffer::Slice& slice : body.slices()) parts.emplace_back(slice.data, slice.size);
  const absl::Status status = file_->AppendParts(parts);
  small_.clear();
  return status;
}

absl::Status RecordWriter::Flush() {
  if (small_.empty()) return absl::OkStatus();
  const absl::Status status = file_->Append(small_.data(), small_.size());
  small_.clear();
  return status;
}

absl::Status RecordWriter::Sync() {
  RETURN_IF_ERROR(Flush());
  return file_->Sync();
}

absl::StatusOr<RecordReader> RecordReader::Open(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, files.Read(path));
  return Parse(path, std::move(bytes));
}

absl::StatusOr<RecordReader> RecordReader::Parse(const std::string& path, std::string bytes) {
  RecordReader reader(path, std::make_shared<const std::string>(std::move(bytes)));
  // Where power failed it may be missing, and what was behind it may have reached the disk.
  const std::string magic = reader.bytes_->substr(0, kMagicBytes);
  const std::size_t written = magic.find_last_not_of('\0') + 1;  // it ends with no zero
  if (std::memcmp(magic.data(), kMagic, written) != 0) return reader.Damage("this is no record log");
  reader.torn_ = written < kMagicBytes;
  reader.offset_ = reader.torn_ ? 0 : kMagicBytes;
  return reader;
}

// What power loss may leave behind the last bytes that were synced.
bool RecordReader::ZerosFrom(std::size_t offset) const {
  return bytes_->find_first_not_of('\0', offset) == bytes_->npos;
}

bool RecordReader::WholeAt(std::size_t offset) const {
  if (bytes_->size() - offset <= kHeadBytes) return false;
  const char* head = bytes_->data() + offset;
  const std::uint32_t size = GetU32(head);
  if (size == 0 || size > bytes_->size() - offset - kHeadBytes || GetU32(head + 8) != Crc32c(head, 8)) return false;
  return Crc32c(head + kHeadBytes, size) == GetU32(head + 4);
}

bool RecordReader::SkipDamage() {
  while (offset_ < bytes_->size() && !WholeAt(offset_)) ++offset_;
  torn_ = offset_ == bytes_->size();
  return !torn_;
}

absl::Status RecordReader::Damage(const std::string& what) const {
  return absl::DataLossError(absl::StrCat(path_, ", byte ", offset_, ": ", what));
}

absl::StatusOr<std::optional<Buffer>> RecordReader::Next() {
  const std::size_t left = bytes_->size() - offset_;
  const auto end_torn = [this] {
    torn_ = true;
    offset_ = bytes_->size();
    return std::nullopt;
  };
  if (left == 0) return std::nullopt;
  if (left < kHeadBytes || ZerosFrom(offset_ + kHeadBytes - 1)) return end_torn();
  const char* head = bytes_->data() + offset_;
  const std::uint32_t size = GetU32(head);
  if (GetU32(head + 8) != Crc32c(head, 8) || size == 0 || size > kMaxRecordBytes) {
    return Damage("the head of a record is damaged");
  }
  if (size > left - kHeadBytes) return end_torn();
  const char* body = head + kHeadBytes;
  const std::size_t end = offset_ + kHeadBytes + size;
  if (Crc32c(body, size) != GetU32(head + 4)) {
    if (ZerosFrom(end)) return end_torn();  // also: nothing is behind it
    return Damage(absl::StrCat("a record of ", size, " bytes is damaged"));
  }
  offset_ = end;
  return Buffer::Wrap(bytes_, body, size);
}

}  // namespace leeway
