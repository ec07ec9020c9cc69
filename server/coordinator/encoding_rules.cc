#include "server/coordinator/encoding_rules.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

// "": it has none.
std::string MomentumOf(const v1::OptimizerConfig& optimizer) {
  switch (optimizer.kind()) {
    case v1::OptimizerConfig::MOMENTUM:
      return optimizer.momentum() > 0 ? absl::StrCat("momentum with --momentum=", optimizer.momentum()) : "";
    case v1::OptimizerConfig::ADAM:
      return "adam";
    case v1::OptimizerConfig::ADAMW:
      return "adamw";
    default:
      return "";
  }
}

}  // namespace

absl::Status CheckEncodings(const v1::JoinRequest& request, const v1::Policy& policy) {
  if (!v1::Encoding_IsValid(request.push_encoding())) {
    return absl::InvalidArgumentError(absl::StrCat("join: push_encoding is ", static_cast<int>(request.push_encoding()),
                                                   "; allowed: 0 (F32), 1 (BF16), 2 (INT8), 3 (TOP_K)"));
  }
  if (!v1::Encoding_IsValid(request.pull_encoding()) || request.pull_encoding() == v1::TOP_K) {
    return absl::InvalidArgumentError(absl::StrCat("join: pull_encoding is ", static_cast<int>(request.pull_encoding()),
                                                   "; allowed: 0 (F32), 1 (BF16), 2 (INT8)"));
  }
  if (request.pull_encoding() == v1::INT8 && policy.aggregation() == v1::ROUND) {
    return absl::FailedPreconditionError(
        "join: --pull_encoding=delta (INT8) at the worker and --aggregation=round in this cluster; differences are for "
        "--aggregation=each");
  }
  const std::string momentum = MomentumOf(policy.optimizer());
  if (request.momentum_correction() && !momentum.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("join: --momentum_correction at the worker and --optimizer=",
                                                      momentum, " in this cluster; momentum belongs to one of them"));
  }
  return absl::OkStatus();
}

}  // namespace leeway
