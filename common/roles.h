// Roles: who may call what. A token has a role, and a role may do whatever those before it may.
//
// Thread safety: pure functions.
#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leeway {

enum class Role {
  kObserver,  // looks on: status, metrics, the status page
  kWorker,    // takes part: weights, gradients, data
  kAdmin,     // decides: what only people do, and what only the `ps` tell each other
};

const char* RoleName(Role role);  // "worker"
std::optional<Role> ParseRole(absl::string_view name);

// A method of the protocol, as in Transport::Call, and the least role that may call it.
struct MethodRole {
  const char* method;
  Role least;
};
absl::Span<const MethodRole> MethodRoles();

// Of a method that is not listed: kAdmin.
Role LeastRole(absl::string_view method);

}  // namespace leeway
