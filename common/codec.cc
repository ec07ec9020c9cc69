#include "common/codec.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"
#include "common/buffer_reader.h"

namespace leeway {
namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr char kPayloadTag = static_cast<char>(kPayloadField << 3 | kBytes);
static_assert(kPayloadField <= 15, "the tag must fit in one byte");

void AppendVarint(std::uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Reads fields one after another out of a buffer that may be split anywhere.
class Cursor {
 public:
  explicit Cursor(const Buffer& bytes) : reader_(bytes), size_(bytes.size()) {}

  std::size_t position() const { return reader_.at(); }
  bool AtEnd() const { return position() == size_; }

  // Tags and lengths as protobuf reads them, however oddly they are written: what one of us accepts the other one must
  // not see differently. A tag has at most 5 bytes, of which 32 bits count; a length as many, below 2 GiB.
  bool ReadTag(std::uint32_t* tag) {
    std::uint64_t value = 0;
    const bool good = ReadVarint(5, &value);
    *tag = static_cast<std::uint32_t>(value);
    return good;
  }
  bool ReadLength(std::uint64_t* length) { return ReadVarint(5, length) && *length <= kMaxLength; }
  bool SkipVarint() {
    std::uint64_t value = 0;
    return ReadVarint(10, &value);
  }

  bool Skip(std::uint64_t count) {
    if (count > size_ - position()) return false;
    reader_.Skip(count);
    return true;
  }

 private:
  static constexpr std::uint64_t kMaxLength = std::numeric_limits<std::int32_t>::max() - 16;

  bool ReadVarint(int most_bytes, std::uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 7 * most_bytes; shift += 7) {
      if (AtEnd()) return false;
      char scratch = 0;
      const auto byte = static_cast<unsigned char>(*reader_.Take(1, &scratch));
      *value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  BufferReader reader_;
  const std::size_t size_;
};

absl::Status Malformed(const google::protobuf::Message& message, std::size_t position, const Buffer& bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat(message.GetTypeName(), ": malformed at byte ", position, " of ", bytes.size()));
}

absl::Status TooLong(const google::protobuf::Message& message, std::size_t bytes, std::size_t most) {
  return absl::InvalidArgumentError(
      absl::StrCat(message.GetTypeName(), ": ", bytes, " bytes of header; at most ", most, " are allowed"));
}

// Skips a field's value, whose tag has been read.
bool SkipValue(std::uint32_t wire_type, Cursor* cursor, std::uint64_t* length) {
  switch (wire_type) {
    case kVarint:
      return cursor->SkipVarint();
    case kFixed64:
      return cursor->Skip(8);
    case kFixed32:
      return cursor->Skip(4);
    case kBytes:
      return cursor->ReadLength(length) && cursor->Skip(*length);
    default:
      return false;  // groups are not used
  }
}

}  // namespace

Buffer EncodeMessage(const google::protobuf::Message& header, const Buffer& payload) {
  std::string bytes;
  header.SerializeToString(&bytes);
  if (!payload.empty()) {
    bytes.push_back(kPayloadTag);
    AppendVarint(payload.size(), &bytes);
  }
  Buffer out = Buffer::FromString(std::move(bytes));
  out.Append(payload);
  return out;
}

absl::Status DecodeMessage(const Buffer& bytes, google::protobuf::Message* header, Buffer* payload,
                           std::size_t max_header) {
  *payload = {};
  const auto* field = header->GetDescriptor()->FindFieldByNumber(kPayloadField);
  if (field == nullptr || field->type() != google::protobuf::FieldDescriptor::TYPE_BYTES) {
    return DecodeMessage(bytes, header, max_header);
  }
  // Both only go forward, so that it takes as long as the message is, however small its fields and slices are.
  Cursor cursor(bytes);
  BufferReader behind(bytes);  // all before it is in `fields` or a payload
  std::string fields;          // everything but payloads
  std::size_t payload_at = 0;
  std::size_t payload_size = 0;
  while (!cursor.AtEnd()) {
    const std::size_t begin = cursor.position();
    std::uint32_t tag = 0;
    std::uint64_t length = 0;
    if (!cursor.ReadTag(&tag) || !SkipValue(tag & 7, &cursor, &length)) return Malformed(*header, begin, bytes);
    if (tag != static_cast<unsigned char>(kPayloadTag)) continue;
    payload_at = cursor.position() - length;
    payload_size = length;
    behind.AppendTo(&fields, begin - behind.at());
    behind.Skip(cursor.position() - begin);
  }
  const std::size_t header_bytes = fields.size() + bytes.size() - behind.at();
  if (header_bytes > max_header) return TooLong(*header, header_bytes, max_header);
  behind.AppendTo(&fields, bytes.size() - behind.at());
  if (!header->ParseFromString(fields)) return Malformed(*header, 0, bytes);
  *payload = bytes.Sub(payload_at, payload_size);
  return absl::OkStatus();
}

absl::Status DecodeMessage(const Buffer& bytes, google::protobuf::Message* message, std::size_t max_bytes) {
  if (bytes.size() > max_bytes) return TooLong(*message, bytes.size(), max_bytes);
  if (!message->ParseFromString(bytes.ToString())) return Malformed(*message, 0, bytes);
  return absl::OkStatus();
}

}  // namespace leeway
