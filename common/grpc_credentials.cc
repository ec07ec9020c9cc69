#include "common/grpc_credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

namespace leeway {
namespace {

namespace tls_api = grpc::experimental;

constexpr unsigned kLookEverySeconds = 1;

std::shared_ptr<tls_api::CertificateProviderInterface> Watch(const TlsFiles& tls) {
  return std::make_shared<tls_api::FileWatcherCertificateProvider>(tls.key, tls.cert, tls.ca, kLookEverySeconds);
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> ChannelCredentialsOf(const TlsFiles& tls) {
  if (tls.empty()) return grpc::InsecureChannelCredentials();
  tls_api::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(tls));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_certificate_verifier(std::make_shared<tls_api::HostNameCertificateVerifier>());
  return tls_api::TlsCredentials(options);
}

std::shared_ptr<grpc::ServerCredentials> ServerCredentialsOf(const TlsFiles& tls) {
  if (tls.empty()) return grpc::InsecureServerCredentials();
  tls_api::TlsServerCredentialsOptions options(Watch(tls));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return tls_api::TlsServerCredentials(options);
}

}  // namespace leeway
