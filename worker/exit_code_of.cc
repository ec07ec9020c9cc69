#include "worker/exit_code_of.h"

#include "common/exit_code.h"
#include "common/run_failure.h"
#include "worker/client/join.h"

namespace leeway {

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return 0;
  if (IsQuarantined(status)) return kExitQuarantined;
  if (IsRunFailure(status)) return kExitRunFailed;
  const bool lost = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  return lost || absl::IsInternal(status) ? kExitClusterLost : kExitBadInput;
}

}  // namespace leeway
