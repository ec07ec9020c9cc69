#include "server/coordinator/group_rules.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace leeway {

absl::Status CheckGroups(const Manifest& manifest, const v1::Policy& policy) {
  std::set<std::string> known;
  for (const Tensor& tensor : manifest.tensors()) known.insert(tensor.group);
  for (const v1::GroupConfig& group : policy.groups()) {
    if (group.group() == "bias" || known.count(group.group()) > 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("join: --group_rate or --group_decay of this cluster names the parameter group '", group.group(),
                     "'; model '", manifest.model(), "' has '", absl::StrJoin(known, "', '"), "'"));
  }
  return absl::OkStatus();
}

}  // namespace leeway
