// Codec: protobuf messages whose large last field, `bytes payload = 15`, is referred to instead of copied.
// What it emits any protobuf library parses, and it parses what any protobuf library emits, whatever the
// order of the fields. Messages without a payload go through it as well.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>

#include <google/protobuf/message.h>

#include "absl/status/status.h"
#include "common/buffer.h"
#include "common/message_size.h"

namespace leeway {

// The field number of `payload` in every message that has one.
inline constexpr int kPayloadField = 15;

// The bytes of `header` (whose payload field must be empty), then the payload's tag, length and slices.
Buffer EncodeMessage(const google::protobuf::Message& header, const Buffer& payload = {});

// Splits `bytes` into the header's fields, parsed, and the payload, by reference (empty when absent; the
// last one counts, as in protobuf). INVALID_ARGUMENT names the byte where a malformed message goes wrong, or says that
// the header has more than `max_header` bytes, unparsed.
absl::Status DecodeMessage(const Buffer& bytes, google::protobuf::Message* header, Buffer* payload,
                           std::size_t max_header = kMaxMessageBytes);

// For messages without a payload field: every field is parsed.
absl::Status DecodeMessage(const Buffer& bytes, google::protobuf::Message* message,
                           std::size_t max_bytes = kMaxMessageBytes);

}  // namespace leeway
