#include "common/grpc_status.h"

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/retry.h"

namespace leeway {
namespace {

// A message that names what it refuses may be long. gRPC's own client takes a longer one, escaped, for a broken stream.
constexpr std::size_t kLongestMessage = 2000;

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::Duration retry_after = RetryAfter(status);
  const std::string details =
      retry_after > absl::ZeroDuration() ? absl::StrCat(absl::ToInt64Milliseconds(retry_after)) : "";
  const auto code = absl::IsUnknown(status) ? grpc::StatusCode::INTERNAL : static_cast<grpc::StatusCode>(status.code());
  return grpc::Status(code, std::string(status.message().substr(0, kLongestMessage)), details);
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kUnknown) {
    const bool broken = absl::StrContains(status.error_message(), "Stream removed");
    code = broken ? absl::StatusCode::kUnavailable : absl::StatusCode::kInternal;
  }
  absl::Status out(code, status.error_message());
  std::int64_t millis = 0;
  if (absl::SimpleAtoi(status.error_details(), &millis) && millis > 0) {
    out = WithRetryAfter(std::move(out), absl::Milliseconds(millis));
  }
  return out;
}

}  // namespace leeway
