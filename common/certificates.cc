#include "common/certificates.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/openssl_objects.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

// A key with a passphrase is refused: nobody is there to type it.
int NoPassphrase(char*, int, int, void*) { return -1; }

absl::Status Wrong(const std::string& path, absl::string_view what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

absl::StatusOr<OwnedCertificate> ReadCertificate(FileSystem& system, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string pem, system.Read(path));
  OwnedCertificate certificate(PEM_read_bio_X509(MemoryBio(pem).get(), nullptr, NoPassphrase, nullptr));
  if (certificate == nullptr) return Wrong(path, "no PEM certificate in it");
  return certificate;
}

absl::StatusOr<OwnedKey> ReadKey(FileSystem& system, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string pem, system.Read(path));
  OwnedKey key(PEM_read_bio_PrivateKey(MemoryBio(pem).get(), nullptr, NoPassphrase, nullptr));
  if (key == nullptr) return Wrong(path, "no PEM private key without a passphrase in it");
  return key;
}

absl::Time ToTime(const ASN1_TIME* time) {
  std::tm broken{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &broken) != 1) return absl::InfinitePast();
  return absl::FromTM(broken, absl::UTCTimeZone());
}

std::string SubjectOf(X509* certificate) {
  const OwnedBio text(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

absl::StatusOr<CertificateFacts> CheckCertificates(FileSystem& system, const TlsFiles& files, absl::Time now) {
  RETURN_IF_ERROR(ReadCertificate(system, files.ca).status());
  ASSIGN_OR_RETURN(const OwnedCertificate certificate, ReadCertificate(system, files.cert));
  ASSIGN_OR_RETURN(const OwnedKey key, ReadKey(system, files.key));
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Wrong(files.key, absl::StrCat("the key does not belong to the certificate in ", files.cert));
  }
  CertificateFacts facts;
  facts.subject = SubjectOf(certificate.get());
  facts.not_before = ToTime(X509_get0_notBefore(certificate.get()));
  facts.not_after = ToTime(X509_get0_notAfter(certificate.get()));
  if (now < facts.not_before) {
    return Wrong(files.cert, absl::StrCat("the certificate of ", facts.subject, " is valid only from ",
                                          absl::FormatTime(facts.not_before, absl::UTCTimeZone())));
  }
  if (now > facts.not_after) {
    return Wrong(files.cert, absl::StrCat("the certificate of ", facts.subject, " has expired, on ",
                                          absl::FormatTime(facts.not_after, absl::UTCTimeZone())));
  }
  return facts;
}

absl::StatusOr<bool> CertificateNames(FileSystem& system, const std::string& path, const std::string& host) {
  ASSIGN_OR_RETURN(const OwnedCertificate certificate, ReadCertificate(system, path));
  // (-2: it is no address.)
  const int as_address = X509_check_ip_asc(certificate.get(), host.c_str(), 0);
  if (as_address != -2) return as_address == 1;
  return X509_check_host(certificate.get(), host.data(), host.size(), 0, nullptr) == 1;
}

}  // namespace leeway
