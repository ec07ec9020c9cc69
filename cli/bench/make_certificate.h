// MakeCertificate: certificates for benches and tests, made in this process. For clusters there is
// deploy/tls/make_certs.sh.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace leeway {

struct PemPair {
  std::string cert, key;
};

struct CertificateRequest {
  std::string subject = "";                          // its common name
  std::string names = "DNS:localhost,IP:127.0.0.1";  // in OpenSSL's words
  absl::Time not_before = absl::Now() - absl::Hours(1);
  absl::Time not_after = absl::Now() + absl::Hours(24);
  const PemPair* issuer = nullptr;  // null: it is an authority, signed by itself
};

absl::StatusOr<PemPair> MakeCertificate(const CertificateRequest& request);

}  // namespace leeway
