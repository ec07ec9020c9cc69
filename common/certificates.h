// Certificates: what a process shows and whom it believes, as PEM files; and what is wrong with them, in words that
// name the file, before a handshake fails without any.
//
// Thread safety: pure functions but for the files they read.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/files.h"

namespace leeway {

struct TlsFiles {
  std::string cert;  // this process's certificate, then those that lead from it to the authority, if any
  std::string key;   // its private key, without a passphrase
  std::string ca;    // the authorities whose certificates are believed
  // The name that the servers' certificates are asked for, instead of the one they are called by; "": that one.
  std::string server_name;

  bool empty() const { return cert.empty(); }
};

struct CertificateFacts {
  std::string subject;  // "CN=leeway-ps"
  absl::Time not_before, not_after;
};

// Of the first certificate of `files.cert`. Errors of the files; INVALID_ARGUMENT: a file that holds no PEM of its
// kind, a key that does not belong to the certificate, a certificate that is not valid at `now`.
absl::StatusOr<CertificateFacts> CheckCertificates(FileSystem& system, const TlsFiles& files, absl::Time now);

// Whether the first certificate in the file `path` is that of `host`, a name or an IP address: clients refuse a server
// that shows another one. Errors of the file.
absl::StatusOr<bool> CertificateNames(FileSystem& system, const std::string& path, const std::string& host);

}  // namespace leeway
