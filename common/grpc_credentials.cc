#include "common/grpc_credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <functional>
#include <string>
#include <utility>

#include "common/grpc_status.h"

namespace leeway {
namespace {

namespace tls_api = grpc::experimental;

constexpr unsigned kLookEverySeconds = 1;

std::shared_ptr<tls_api::CertificateProviderInterface> Watch(const TlsFiles& tls) {
  return std::make_shared<tls_api::FileWatcherCertificateProvider>(tls.key, tls.cert, tls.ca, kLookEverySeconds);
}

// Once a handshake is done: is the other end's certificate revoked? And then what `next` says of it, unless that is
// null.
class NotRevoked final : public tls_api::ExternalCertificateVerifier {
 public:
  NotRevoked(std::shared_ptr<RevokedCertificates> revoked, std::shared_ptr<tls_api::CertificateVerifier> next)
      : revoked_(std::move(revoked)), next_(std::move(next)) {}

  bool Verify(tls_api::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)> done,
              grpc::Status* status) override {
    const grpc::string_ref pem = request->peer_cert();
    *status = ToGrpc(revoked_->Check(std::string(pem.data(), pem.size())));
    if (!status->ok() || next_ == nullptr) return true;
    return next_->Verify(request, std::move(done), status);
  }
  void Cancel(tls_api::TlsCustomVerificationCheckRequest* request) override {
    if (next_ != nullptr) next_->Cancel(request);
  }

 private:
  const std::shared_ptr<RevokedCertificates> revoked_;
  const std::shared_ptr<tls_api::CertificateVerifier> next_;
};

// Null: nothing is to be looked at but what TLS itself does.
std::shared_ptr<tls_api::CertificateVerifier> VerifierOf(const Security& security,
                                                         std::shared_ptr<tls_api::CertificateVerifier> next) {
  if (security.revoked == nullptr) return next;
  return tls_api::ExternalCertificateVerifier::Create<NotRevoked>(security.revoked, std::move(next));
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> ChannelCredentialsOf(const Security& security) {
  if (security.tls.empty()) return grpc::InsecureChannelCredentials();
  tls_api::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(security.tls));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_certificate_verifier(VerifierOf(security, std::make_shared<tls_api::HostNameCertificateVerifier>()));
  return tls_api::TlsCredentials(options);
}

std::shared_ptr<grpc::ServerCredentials> ServerCredentialsOf(const Security& security) {
  if (security.tls.empty()) return grpc::InsecureServerCredentials();
  tls_api::TlsServerCredentialsOptions options(Watch(security.tls));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  if (auto verifier = VerifierOf(security, nullptr)) options.set_certificate_verifier(std::move(verifier));
  return tls_api::TlsServerCredentials(options);
}

}  // namespace leeway
