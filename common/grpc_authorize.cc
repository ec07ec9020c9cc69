#include "common/grpc_authorize.h"

#include <grpc/grpc_security_constants.h>

#include <vector>

#include "absl/strings/string_view.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

absl::Status CheckCertificate(RevokedCertificates& revoked, const grpc::ServerContextBase& context) {
  const std::vector<grpc::string_ref> pem =
      context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return revoked.Check(pem.empty() ? "" : std::string(pem[0].data(), pem[0].size()));
}

}  // namespace

absl::Status Authorize(const Security& security, const std::string& method, const grpc::ServerContextBase& context) {
  if (security.revoked != nullptr && !security.tls.empty()) {
    RETURN_IF_ERROR(CheckCertificate(*security.revoked, context));
  }
  if (security.authorizer == nullptr) return absl::OkStatus();
  const auto header = context.client_metadata().find("authorization");
  absl::string_view value;
  if (header != context.client_metadata().end()) value = {header->second.data(), header->second.size()};
  return security.authorizer->CheckMethod(method, BearerToken(value), context.peer());
}

}  // namespace leeway
