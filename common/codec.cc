#include "common/codec.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr char kPayloadTag = static_cast<char>(kPayloadField << 3 | kBytes);
static_assert(kPayloadField <= 15, "the tag must fit in one byte");

// Headers hold a few numbers; a manifest with its thousands of tensors stays far below this.
constexpr std::size_t kMaxHeaderBytes = 16 << 20;

void AppendVarint(std::uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Reads fields one after another out of a buffer that may be split anywhere.
class Cursor {
 public:
  explicit Cursor(const Buffer& bytes) : bytes_(bytes) {}

  std::size_t position() const { return position_; }
  bool AtEnd() const { return position_ == bytes_.size(); }

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
    if (count > bytes_.size() - position_) return false;
    position_ += count;
    std::size_t at = at_ + count;
    while (slice_ < bytes_.slices().size() && at >= bytes_.slices()[slice_].size) at -= bytes_.slices()[slice_++].size;
    at_ = at;
    return true;
  }

 private:
  static constexpr std::uint64_t kMaxLength = std::numeric_limits<std::int32_t>::max() - 16;

  bool ReadVarint(int most_bytes, std::uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 7 * most_bytes; shift += 7) {
      if (AtEnd()) return false;
      const auto byte = static_cast<unsigned char>(Next());
      *value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  char Next() {
    const char byte = bytes_.slices()[slice_].data[at_];
    Skip(1);
    return byte;
  }

  const Buffer& bytes_;
  std::size_t position_ = 0;
  std::size_t slice_ = 0;
  std::size_t at_ = 0;  // within slice_
};

absl::Status Malformed(const google::protobuf::Message& message, std::size_t position, const Buffer& bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat(message.GetTypeName(), ": malformed at byte ", position, " of ", bytes.size()));
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

absl::Status DecodeMessage(const Buffer& bytes, google::protobuf::Message* header, Buffer* payload) {
  *payload = {};
  const auto* field = header->GetDescriptor()->FindFieldByNumber(kPayloadField);
  if (field == nullptr || field->type() != google::protobuf::FieldDescriptor::TYPE_BYTES) {
    return DecodeMessage(bytes, header);
  }
  Buffer fields;  // everything but payloads, by reference
  Cursor cursor(bytes);
  std::size_t fields_begin = 0;
  while (!cursor.AtEnd()) {
    const std::size_t begin = cursor.position();
    std::uint32_t tag = 0;
    std::uint64_t length = 0;
    if (!cursor.ReadTag(&tag) || !SkipValue(tag & 7, &cursor, &length)) return Malformed(*header, begin, bytes);
    if (tag == static_cast<unsigned char>(kPayloadTag)) {
      *payload = bytes.Sub(cursor.position() - length, length);
      fields.Append(bytes.Sub(fields_begin, begin - fields_begin));
      fields_begin = cursor.position();
    }
  }
  fields.Append(bytes.Sub(fields_begin, bytes.size() - fields_begin));
  return DecodeMessage(fields, header);
}

absl::Status DecodeMessage(const Buffer& bytes, google::protobuf::Message* message) {
  if (bytes.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(message->GetTypeName(), ": ", bytes.size(),
                                                   " bytes of header; at most ", kMaxHeaderBytes, " are allowed"));
  }
  if (!message->ParseFromString(bytes.ToString())) return Malformed(*message, 0, bytes);
  return absl::OkStatus();
}

}  // namespace leeway
