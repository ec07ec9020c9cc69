#include "common/roles.h"

namespace leeway {
namespace {

constexpr const char* kNames[] = {"observer", "worker", "admin"};  // in the order of Role

constexpr MethodRole kMethods[] = {
    {"ParameterServer/Pull", Role::kWorker},
    {"ParameterServer/Push", Role::kWorker},
    {"ParameterServer/PushPull", Role::kWorker},
    {"ParameterServer/PutWeights", Role::kWorker},
    {"ParameterServer/WatchRound", Role::kWorker},
    {"Coordinator/Join", Role::kWorker},
    {"Coordinator/Heartbeat", Role::kWorker},
    {"Coordinator/Leave", Role::kWorker},
    {"Coordinator/OpenPush", Role::kWorker},
    {"Coordinator/AcquireData", Role::kWorker},
    {"Coordinator/CommitData", Role::kWorker},
    {"Coordinator/ReportProgress", Role::kWorker},
    {"Coordinator/GetStatus", Role::kObserver},
    // Of the `ps`. Who subscribes as a shard says where that shard is reached: everybody's gradients would go there.
    {"Coordinator/WatchMembership", Role::kAdmin},
    {"Coordinator/ReportRound", Role::kAdmin},
    {"Coordinator/ClaimShard", Role::kAdmin},
    {"CheckpointStore/Write", Role::kAdmin},
    {"CheckpointStore/Read", Role::kAdmin},
    {"CheckpointStore/List", Role::kAdmin},
    // Of people, and of a `ps` that is told to end.
    {"Coordinator/Checkpoint", Role::kAdmin},
    {"Coordinator/SetPolicy", Role::kAdmin},
    {"Coordinator/Drain", Role::kAdmin},
};

}  // namespace

const char* RoleName(Role role) { return kNames[static_cast<int>(role)]; }

std::optional<Role> ParseRole(absl::string_view name) {
  for (const Role role : {Role::kObserver, Role::kWorker, Role::kAdmin}) {
    if (name == RoleName(role)) return role;
  }
  return std::nullopt;
}

absl::Span<const MethodRole> MethodRoles() { return kMethods; }

Role LeastRole(absl::string_view method) {
  for (const MethodRole& row : kMethods) {
    if (method == row.method) return row.least;
  }
  return Role::kAdmin;
}

}  // namespace leeway
