#include "common/revoked_certificates.h"

#include <openssl/pem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/openssl_objects.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

bool IsFingerprint(const std::string& word) {
  return word.size() == 2 * SHA256_DIGEST_LENGTH &&
         std::all_of(word.begin(), word.end(), [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

// "": there is no certificate in it.
std::string FingerprintOf(const std::string& pem) {
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  std::string fingerprint;
  if (PEM_read_bio(MemoryBio(pem).get(), &name, &header, &der, &size) == 1) {
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256(der, static_cast<std::size_t>(size), hash);
    fingerprint = absl::BytesToHexString({reinterpret_cast<const char*>(hash), sizeof(hash)});
  }
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(der);
  return fingerprint;
}

}  // namespace

absl::StatusOr<std::shared_ptr<RevokedCertificates>> RevokedCertificates::Load(FileSystem& files,
                                                                               const std::string& path) {
  std::shared_ptr<RevokedCertificates> revoked(new RevokedCertificates(files, path));
  RETURN_IF_ERROR(revoked->Reload());
  return revoked;
}

absl::Status RevokedCertificates::Reload() {
  ASSIGN_OR_RETURN(const std::string text, files_.Read(path_));
  std::set<std::string> fingerprints;
  std::size_t number = 0;
  for (const absl::string_view whole : absl::StrSplit(text, '\n')) {
    ++number;
    const std::vector<absl::string_view> words =
        absl::StrSplit(whole.substr(0, whole.find('#')), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    const std::string word = absl::AsciiStrToLower(absl::StrReplaceAll(words[0], {{":", ""}}));
    if (!IsFingerprint(word)) {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": line ", number,
                                                     ": the first word must be a certificate's SHA-256 fingerprint in "
                                                     "64 hex digits"));
    }
    fingerprints.insert(word);
  }
  MutexLock lock(mu_);
  fingerprints_ = std::move(fingerprints);
  return absl::OkStatus();
}

absl::Status RevokedCertificates::Check(const std::string& pem) {
  const std::string fingerprint = FingerprintOf(pem);
  if (fingerprint.empty()) return absl::UnauthenticatedError("no certificate was shown");
  MutexLock lock(mu_);
  if (fingerprints_.count(fingerprint) == 0) return absl::OkStatus();
  return absl::UnauthenticatedError(
      absl::StrCat("the certificate with fingerprint ", fingerprint, " is revoked (", path_, ")"));
}

}  // namespace leeway
