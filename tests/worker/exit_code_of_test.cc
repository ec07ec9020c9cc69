#include "worker/exit_code_of.h"

#include "common/exit_code.h"
#include "common/run_failure.h"
#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("Exit codes: what would be so again, and what is worth another start") {
  CHECK(ExitCodeOf(absl::OkStatus()) == 0);
  CHECK(ExitCodeOf(absl::InvalidArgumentError("--data: none")) == kExitBadInput);
  CHECK(ExitCodeOf(absl::FailedPreconditionError("another model")) == kExitBadInput);
  CHECK(ExitCodeOf(absl::ResourceExhaustedError("cuda: cannot allocate")) == kExitBadInput);
  CHECK(ExitCodeOf(absl::UnavailableError("gave up on the coordinator")) == kExitClusterLost);
  CHECK(ExitCodeOf(absl::DeadlineExceededError("not yet")) == kExitClusterLost);
  CHECK(ExitCodeOf(RunFailure("it has diverged")) == kExitRunFailed);
}

TEST_CASE("Exit codes: a GPU that fails in the middle is worth another start") {
  CHECK(ExitCodeOf(absl::InternalError("encode int8: unspecified launch failure")) == kExitClusterLost);
}

}  // namespace
}  // namespace leeway
