#include "common/http_tls.h"

#include <sys/stat.h>

#include <boost/asio/ssl/context.hpp>

#include "absl/strings/str_cat.h"

namespace leeway {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

std::string StampOfTls(const HttpTls& tls) {
  std::string stamp;
  for (const std::string& file : {tls.cert_file, tls.key_file, tls.ca_file}) {
    struct stat info {};
    if (!file.empty() && stat(file.c_str(), &info) == 0) {
      absl::StrAppend(&stamp, info.st_ino, ".", info.st_size, ".", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, " ");
    }
  }
  return stamp;
}

absl::StatusOr<std::shared_ptr<ssl::context>> LoadHttpTls(const HttpTls& tls) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  error_code error;
  const auto failed = [&error](const std::string& what, const std::string& file) {
    return absl::InvalidArgumentError(absl::StrCat("TLS ", what, " '", file, "': ", error.message()));
  };
  context->use_certificate_chain_file(tls.cert_file, error);
  if (error) return failed("certificate", tls.cert_file);
  context->use_private_key_file(tls.key_file, ssl::context::pem, error);
  if (error) return failed("key", tls.key_file);
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("TLS key '", tls.key_file, "' is not that of certificate '", tls.cert_file, "'"));
  }
  if (tls.ca_file.empty()) return context;
  context->load_verify_file(tls.ca_file, error);
  if (error) return failed("authority", tls.ca_file);
  context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert, error);
  if (error) return failed("authority", tls.ca_file);
  return context;
}

}  // namespace leeway
