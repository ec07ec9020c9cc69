#include "cli/coordinator_flag.h"

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/socket.h"

ABSL_DECLARE_FLAG(std::string, coordinator);  // of worker/worker_flags.cc

namespace leeway {

absl::StatusOr<std::string> CoordinatorFlag() {
  std::string coordinator = absl::GetFlag(FLAGS_coordinator);
  if (coordinator.empty()) {
    return absl::InvalidArgumentError(
        "--coordinator=HOST:PORT is missing: where ps 0 serves, as its log says and leeway run prints (or "
        "LEEWAY_COORDINATOR)");
  }
  if (!SplitAddress(coordinator).ok()) return FlagError("coordinator", coordinator, "host:port of ps 0");
  return coordinator;
}

absl::Status WithHint(const absl::Status& error) {
  const bool closed = absl::IsUnavailable(error) && absl::StrContains(error.message(), "Socket closed");
  if (!closed || FlagGiven("tls_ca_file")) return error;
  return absl::Status(
      error.code(), absl::StrCat(error.message(), "; if it wants TLS: --tls_cert_file, --tls_key_file, --tls_ca_file"));
}

}  // namespace leeway
