// Frame: a request or a reply as it travels over a local socket: a fixed header, a text, and the message's bytes as
// Codec makes them. Numbers are in the machine's own order: both ends are on one machine.
//
// Thread safety: as an int.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/buffer.h"
#include "common/message_size.h"

namespace leeway {

struct FrameHeader {
  static constexpr std::uint32_t kMagic = 0x3159574c;  // "LWY1": the format and its version
  // A method's name, with a token maybe (RequestText); a reply's message, cut there.
  static constexpr std::size_t kMaxText = 4096;
  static constexpr std::uint32_t kMaxBody = kMaxMessageBytes;

  enum Kind : std::uint8_t { kRequest = 1, kReply = 2 };

  std::uint32_t magic = kMagic;
  std::uint8_t kind = 0;
  std::uint8_t code = 0;  // of a reply: absl::StatusCode
  std::uint16_t text = 0;
  std::uint32_t body = 0;
  std::uint32_t retry_after_millis = 0;
  std::uint64_t call = 0;  // the caller's number, which the reply repeats
};
static_assert(sizeof(FrameHeader) == 24, "no padding: all bytes travel");

struct Frame {
  FrameHeader header;
  std::string text;
  Buffer body;
};

// INVALID_ARGUMENT: what is wrong with a header from outside, whose kind must be `kind`.
absl::Status CheckHeader(const FrameHeader& header, FrameHeader::Kind kind);

// RESOURCE_EXHAUSTED: a message longer than kMaxBody.
absl::Status CheckBody(const Buffer& body);

Frame RequestFrame(std::uint64_t call, std::string text, Buffer body);

// The text of a request: the method's name and, unless `authorization` is "", a line break and that ("Bearer TOKEN").
std::string RequestText(const std::string& method, absl::string_view authorization);
struct RequestWords {
  std::string method, authorization;
};
RequestWords SplitRequestText(const std::string& text);

// A status loses everything but its code, message and retry delay; UNKNOWN, which nothing of ours answers, becomes
// INTERNAL.
Frame ReplyFrame(std::uint64_t call, const absl::Status& status, Buffer body);
absl::Status StatusOf(const Frame& reply);

}  // namespace leeway
