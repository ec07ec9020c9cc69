#include "common/security_flags.h"

#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/certificates.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/log.h"
#include "common/socket.h"
#include "common/status_macros.h"

ABSL_FLAG(std::string, tls_cert_file, "",
          "PEM file with this process's certificate and those that lead to its authority; with --tls_key_file and "
          "--tls_ca_file every connection is TLS, and both ends show a certificate; read again when it changes");
ABSL_FLAG(std::string, tls_key_file, "", "PEM file with the private key of --tls_cert_file");
ABSL_FLAG(std::string, tls_ca_file, "", "PEM file with the authorities whose certificates are believed");
ABSL_FLAG(std::string, tls_server_name, "",
          "the name that every `ps` must have in its certificate; empty: the host by which it is called");
ABSL_FLAG(
    std::string, tls_revoked_file, "",
    "file with certificates that count no more, though their authority vouches for them: lines `SHA256-FINGERPRINT "
    "[NAME]`; read again when it changes");
ABSL_FLAG(std::string, token_file, "", "file with the token that this process shows when it calls");
ABSL_FLAG(std::string, tokens_file, "",
          "file with the tokens that are let in, by role: lines `observer|worker|admin SHA256-HEX [NAME]`; empty: no "
          "token is asked for");
ABSL_FLAG(bool, insecure, false,
          "without TLS: listen beyond this machine, and send tokens there; whoever is on the network can read and "
          "change everything");

namespace leeway {
namespace {

constexpr const char* kNames[] = {"tls_cert_file",    "tls_key_file", "tls_ca_file", "tls_server_name",
                                  "tls_revoked_file", "token_file",   "tokens_file", "insecure"};
// A certificate that ends so soon is not replaced as it should be.
constexpr absl::Duration kSoon = absl::Hours(24);

absl::Status OfFlag(const char* flag, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", status.message()));
}

absl::Status CheckTlsFlags(const TlsFiles& tls) {
  const std::pair<const char*, const std::string*> files[] = {
      {"tls_cert_file", &tls.cert}, {"tls_key_file", &tls.key}, {"tls_ca_file", &tls.ca}};
  int given = 0;
  for (const auto& [flag, path] : files) given += path->empty() ? 0 : 1;
  for (const auto& [flag, path] : files) {
    if (given > 0 && path->empty()) {
      return FlagError(flag, *path, "a PEM file: --tls_cert_file, --tls_key_file and --tls_ca_file go together");
    }
  }
  if (given == 0 && !tls.server_name.empty()) {
    return FlagError("tls_server_name", tls.server_name, "nothing without --tls_cert_file");
  }
  if (const std::string revoked = absl::GetFlag(FLAGS_tls_revoked_file); given == 0 && !revoked.empty()) {
    return FlagError("tls_revoked_file", revoked, "nothing without --tls_cert_file");
  }
  return absl::OkStatus();
}

// An error that lasts is found every second: it is told once.
class Errors {
 public:
  // False, and told, where `status` is not OK.
  bool Ok(const absl::Status& status, const std::string& meaning) {
    if (!status.ok() && status != last_) spdlog::error("{}: {}", meaning, status);
    last_ = status;
    return status.ok();
  }

 private:
  absl::Status last_;
};

// `first`: there is only something to say if it is wrong.
bool TellCertificate(const TlsFiles& tls, bool first, Errors* errors) {
  const absl::Time now = absl::Now();
  const absl::StatusOr<CertificateFacts> facts = CheckCertificates(RealFileSystem(), tls, now);
  if (!errors->Ok(facts.status(), "no new connection can be made with these certificates")) return false;
  if (first) return true;
  const auto level = facts->not_after - now < kSoon ? spdlog::level::warn : spdlog::level::info;
  spdlog::log(level, "certificate of {} from {}, valid until {}", facts->subject, tls.cert,
              absl::FormatTime(facts->not_after, absl::UTCTimeZone()));
  return true;
}

template <typename T>
FileWatch::Entry Reloading(const std::string& what, const std::string& path, const std::shared_ptr<T>& object) {
  return {{path}, [what, path, object, errors = Errors()](bool first) mutable {
            if (!errors.Ok(object->Reload(), what + ": what was read before still counts")) return false;
            if (!first) spdlog::info("{}: {} is read", what, path);
            return true;
          }};
}

}  // namespace

absl::StatusOr<Security> SecurityFromFlags() {
  Security security;
  TlsFiles& tls = security.tls;
  tls.cert = absl::GetFlag(FLAGS_tls_cert_file);
  tls.key = absl::GetFlag(FLAGS_tls_key_file);
  tls.ca = absl::GetFlag(FLAGS_tls_ca_file);
  tls.server_name = absl::GetFlag(FLAGS_tls_server_name);
  security.insecure = absl::GetFlag(FLAGS_insecure);
  RETURN_IF_ERROR(CheckTlsFlags(tls));
  std::vector<FileWatch::Entry> watched;
  if (!tls.empty()) {
    RETURN_IF_ERROR(OfFlag("tls_cert_file", CheckCertificates(RealFileSystem(), tls, absl::Now()).status()));
    watched.push_back({{tls.cert, tls.key, tls.ca},
                       [tls, errors = Errors()](bool first) mutable { return TellCertificate(tls, first, &errors); }});
  }
  if (const std::string path = absl::GetFlag(FLAGS_tls_revoked_file); !path.empty()) {
    auto revoked = RevokedCertificates::Load(RealFileSystem(), path);
    RETURN_IF_ERROR(OfFlag("tls_revoked_file", revoked.status()));
    security.revoked = *std::move(revoked);
    watched.push_back(Reloading("revoked certificates", path, security.revoked));
  }
  if (const std::string path = absl::GetFlag(FLAGS_token_file); !path.empty()) {
    auto token = TokenSource::Load(RealFileSystem(), path);
    RETURN_IF_ERROR(OfFlag("token_file", token.status()));
    security.token = *std::move(token);
    watched.push_back(Reloading("tokens", path, security.token));
  }
  if (const std::string path = absl::GetFlag(FLAGS_tokens_file); !path.empty()) {
    auto authorizer = Authorizer::Load(RealFileSystem(), path);
    RETURN_IF_ERROR(OfFlag("tokens_file", authorizer.status()));
    security.authorizer = *std::move(authorizer);
    watched.push_back(Reloading("tokens", path, security.authorizer));
  }
  if (!watched.empty()) security.watch = std::make_shared<FileWatch>(std::move(watched));
  return security;
}

void LogCertificate(const Security& security) {
  Errors errors;
  if (!security.tls.empty()) TellCertificate(security.tls, /*first=*/false, &errors);
}

absl::Status CheckListenFlag(const std::string& flag, const std::string& address, const Security& security) {
  if (!security.tls.empty() || security.insecure || IsLoopback(address)) return absl::OkStatus();
  return FlagError(flag, address,
                   "an address of this machine alone, such as 127.0.0.1:0; others with --tls_cert_file, "
                   "--tls_key_file and --tls_ca_file, or in the clear with --insecure (docs/security.md)");
}

absl::Status CheckCalledFlag(const std::string& flag, const std::string& address, const Security& security) {
  const TlsFiles& tls = security.tls;
  if (tls.empty()) return absl::OkStatus();
  std::string host = tls.server_name;
  if (host.empty()) {
    ASSIGN_OR_RETURN(const auto parts, SplitAddress(address));
    host = parts.first;
  }
  const absl::StatusOr<bool> named = CertificateNames(RealFileSystem(), tls.cert, host);
  RETURN_IF_ERROR(OfFlag("tls_cert_file", named.status()));
  if (*named) return absl::OkStatus();
  const std::string certificate = absl::StrCat(" that the certificate in ", tls.cert, " names");
  if (!tls.server_name.empty()) return FlagError("tls_server_name", tls.server_name, "a name" + certificate);
  return FlagError(flag, address,
                   absl::StrCat("a host", certificate, ", or --tls_server_name: nobody else is believed"));
}

std::vector<std::string> GivenSecurityFlags() {
  std::vector<std::string> words;
  for (const char* name : kNames) {
    if (FlagGiven(name))
      words.push_back(absl::StrCat("--", name, "=", absl::FindCommandLineFlag(name)->CurrentValue()));
  }
  return words;
}

}  // namespace leeway
