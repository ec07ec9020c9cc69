#include "server/launcher_flags.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/flags.h"
#include "common/grpc_transport.h"
#include "common/launcher.h"
#include "common/own_address.h"
#include "common/security_flags.h"
#include "common/socket.h"
#include "common/status_macros.h"
#include "server/claim_shard.h"
#include "server/told_to_end.h"

ABSL_DECLARE_FLAG(absl::Duration, start_timeout);

namespace leeway {
namespace {

// Where others reach this process. `listen` may be every address, since the launcher's name for this machine may belong
// to a router in front of it; but where all is on one machine nobody else is to come in.
struct Place {
  std::string listen, advertise;
};

absl::StatusOr<Place> PlaceOf(const LauncherTask& task) {
  std::string address = task.address;
  if (address.empty()) {
    std::string host;
    if (task.interface.empty()) {
      ASSIGN_OR_RETURN(host, OwnAddressTowards(task.coordinator));
    } else {
      ASSIGN_OR_RETURN(host, AddressOfInterface(task.interface));
    }
    address = JoinAddress(host, 0);
  }
  ASSIGN_OR_RETURN(const auto parts, SplitAddress(address));
  if (IsLoopbackHost(parts.first)) return Place{address, ""};
  return Place{JoinAddress("0.0.0.0", parts.second), address};
}

}  // namespace

absl::Status SetPsFlagsFromLauncher() {
  if (FlagGiven("shard_index") || FlagGiven("num_shards") || FlagGiven("coordinator")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<LauncherTask> task, LauncherTaskOfThisProcess());
  if (!task) return absl::OkStatus();
  if (task->role != LauncherRole::kPs) {
    return absl::InvalidArgumentError(absl::StrCat(task->source, ": this process is ", task->task,
                                                   ", which is a job for the program worker; this is ps"));
  }
  ASSIGN_OR_RETURN(const Place place, PlaceOf(*task));
  std::optional<std::uint32_t> index = task->index;
  if (!index) {
    ASSIGN_OR_RETURN(const Security security, SecurityFromFlags());
    const std::unique_ptr<Transport> transport = MakeGrpcTransport({.security = security});
    const ShardClaim claim{task->coordinator, task->num_shards, absl::GetFlag(FLAGS_start_timeout),
                           [] { return !ToldToEnd(); }};
    ASSIGN_OR_RETURN(index, ClaimShard(*transport, claim));
  }
  RETURN_IF_ERROR(SetFlagUnlessGiven("num_shards", absl::StrCat(task->num_shards)));
  RETURN_IF_ERROR(SetFlagUnlessGiven("shard_index", absl::StrCat(*index)));
  if (!FlagGiven("listen") && !place.advertise.empty())
    RETURN_IF_ERROR(SetFlagUnlessGiven("advertise", place.advertise));
  RETURN_IF_ERROR(SetFlagUnlessGiven("listen", place.listen));
  if (*index > 0) return SetFlagUnlessGiven("coordinator", task->coordinator);
  RETURN_IF_ERROR(SetFlagUnlessGiven("num_workers", absl::StrCat(task->num_trainers)));
  return SetFlagUnlessGiven("num_evaluators", absl::StrCat(task->num_evaluators));
}

}  // namespace leeway
