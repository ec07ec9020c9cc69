// The flags of TLS and tokens, the same of ps, worker and leeway:
//   --tls_cert_file, --tls_key_file, --tls_ca_file, --tls_server_name, --tls_revoked_file, --token_file, --tokens_file,
//   --insecure
//
// Thread safety: from one thread, after ParseFlags.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/security.h"

namespace leeway {

// INVALID_ARGUMENT names the flag: some of the TLS files and not all, a file that is wrong. The files are read again
// when they change, as long as the result lives.
absl::StatusOr<Security> SecurityFromFlags();

// Says in the log until when this process's certificate is valid: of a process that others call, when it starts.
void LogCertificate(const Security& security);

// OK unless `address`, the value of `flag`, is to be listened on in the clear beyond this machine without --insecure.
absl::Status CheckListenFlag(const std::string& flag, const std::string& address, const Security& security);

// OK when a client that calls this process at `address` (host:port, of `flag`) finds itself served by who it meant: the
// certificate is that host's, or --tls_server_name's. Without TLS always.
absl::Status CheckCalledFlag(const std::string& flag, const std::string& address, const Security& security);

// Those that were given, as words of a command line: for processes that this one starts.
std::vector<std::string> GivenSecurityFlags();

}  // namespace leeway
