#include "common/grpc_authorize.h"

#include "absl/strings/string_view.h"

namespace leeway {

absl::Status Authorize(Authorizer* authorizer, const std::string& method, const grpc::ServerContextBase& context) {
  if (authorizer == nullptr) return absl::OkStatus();
  const auto header = context.client_metadata().find("authorization");
  absl::string_view value;
  if (header != context.client_metadata().end()) value = {header->second.data(), header->second.size()};
  return authorizer->CheckMethod(method, BearerToken(value), context.peer());
}

}  // namespace leeway
