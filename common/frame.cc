#include "common/frame.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/retry.h"

namespace leeway {
namespace {

constexpr auto kLastCode = static_cast<std::uint8_t>(absl::StatusCode::kUnauthenticated);

}  // namespace

absl::Status CheckHeader(const FrameHeader& header, FrameHeader::Kind kind) {
  if (header.magic != FrameHeader::kMagic) {
    return absl::InvalidArgumentError(absl::StrCat("a frame begins with ", absl::Hex(header.magic, absl::kZeroPad8),
                                                   ", not ", absl::Hex(FrameHeader::kMagic, absl::kZeroPad8)));
  }
  if (header.kind != kind || header.code > kLastCode) {
    return absl::InvalidArgumentError(absl::StrCat("a frame of kind ", header.kind, " with code ", header.code));
  }
  if (header.text > FrameHeader::kMaxText || header.body > FrameHeader::kMaxBody) {
    return absl::InvalidArgumentError(absl::StrCat("a frame with ", header.text, " bytes of text and ", header.body,
                                                   " of message; at most ", FrameHeader::kMaxText, " and ",
                                                   FrameHeader::kMaxBody, " are allowed"));
  }
  return absl::OkStatus();
}

absl::Status CheckBody(const Buffer& body) {
  if (body.size() <= FrameHeader::kMaxBody) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("a message of ", body.size(), " bytes; at most ", FrameHeader::kMaxBody, " go over a local socket"));
}

Frame RequestFrame(std::uint64_t call, std::string text, Buffer body) {
  Frame frame;
  frame.header.kind = FrameHeader::kRequest;
  frame.header.call = call;
  frame.header.text = static_cast<std::uint16_t>(text.size());
  frame.header.body = static_cast<std::uint32_t>(body.size());
  frame.text = std::move(text);
  frame.body = std::move(body);
  return frame;
}

std::string RequestText(const std::string& method, absl::string_view authorization) {
  return authorization.empty() ? method : absl::StrCat(method, "\n", authorization);
}

RequestWords SplitRequestText(const std::string& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string::npos) return {text, ""};
  return {text.substr(0, end), text.substr(end + 1)};
}

Frame ReplyFrame(std::uint64_t call, const absl::Status& status, Buffer body) {
  Frame frame;
  frame.header.kind = FrameHeader::kReply;
  frame.header.call = call;
  if (status.ok()) {
    frame.body = std::move(body);
  } else {
    frame.header.code =
        static_cast<std::uint8_t>(absl::IsUnknown(status) ? absl::StatusCode::kInternal : status.code());
    frame.text = std::string(status.message().substr(0, FrameHeader::kMaxText));
    const std::int64_t millis = absl::ToInt64Milliseconds(RetryAfter(status));
    frame.header.retry_after_millis =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(millis, 0, std::numeric_limits<std::uint32_t>::max()));
  }
  frame.header.text = static_cast<std::uint16_t>(frame.text.size());
  frame.header.body = static_cast<std::uint32_t>(frame.body.size());
  return frame;
}

absl::Status StatusOf(const Frame& reply) {
  absl::Status status(static_cast<absl::StatusCode>(reply.header.code), reply.text);
  if (!status.ok() && reply.header.retry_after_millis > 0) {
    status = WithRetryAfter(std::move(status), absl::Milliseconds(reply.header.retry_after_millis));
  }
  return status;
}

}  // namespace leeway
