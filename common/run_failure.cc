#include "common/run_failure.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

constexpr char kBegin[] = "the run has failed: ";

}  // namespace

absl::Status RunFailure(const std::string& why) {
  if (why.empty()) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(kBegin, why));
}

bool IsRunFailure(const absl::Status& status) {
  return absl::IsAborted(status) && absl::StartsWith(status.message(), kBegin);
}

bool IsRunOver(const absl::Status& status) { return status.ok() || IsRunFailure(status); }

std::string HowRunEnded(const absl::Status& status) {
  return status.ok() ? "the run is finished" : std::string(status.message());
}

}  // namespace leeway
