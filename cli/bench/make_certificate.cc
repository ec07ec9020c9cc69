#include "cli/bench/make_certificate.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/openssl_objects.h"

namespace leeway {
namespace {

using OwnedNumber = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using OwnedExtension = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

bool AddExtension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const OwnedExtension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool SetSerial(X509* certificate) {
  const OwnedNumber number(BN_new());
  return BN_rand(number.get(), 63, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

}  // namespace

absl::StatusOr<PemPair> MakeCertificate(const CertificateRequest& request) {
  const bool authority = request.issuer == nullptr;
  const OwnedKey key(EVP_EC_gen("P-256"));
  const OwnedCertificate certificate(X509_new());
  OwnedCertificate issuer;
  OwnedKey issuer_key;
  if (!authority) {
    issuer.reset(PEM_read_bio_X509(MemoryBio(request.issuer->cert).get(), nullptr, nullptr, nullptr));
    issuer_key.reset(PEM_read_bio_PrivateKey(MemoryBio(request.issuer->key).get(), nullptr, nullptr, nullptr));
    if (issuer == nullptr || issuer_key == nullptr) return absl::InvalidArgumentError("the issuer is no PEM pair");
  }
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const auto* subject = reinterpret_cast<const unsigned char*>(request.subject.c_str());
  const bool made =
      key != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1 && SetSerial(certificate.get()) &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, subject, -1, -1, 0) == 1 &&
      X509_set_issuer_name(certificate.get(), authority ? name : X509_get_subject_name(issuer.get())) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(request.not_before)) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(request.not_after)) != nullptr &&
      X509_set_pubkey(certificate.get(), key.get()) == 1 &&
      AddExtension(certificate.get(), NID_basic_constraints, authority ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
      AddExtension(certificate.get(), NID_subject_alt_name, request.names) &&
      X509_sign(certificate.get(), authority ? key.get() : issuer_key.get(), EVP_sha256()) > 0;
  const OwnedBio cert_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  if (!made || PEM_write_bio_X509(cert_text.get(), certificate.get()) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return absl::InternalError(
        absl::StrCat("OpenSSL makes no certificate for '", request.subject, "' with names '", request.names, "'"));
  }
  return PemPair{Text(cert_text.get()), Text(key_text.get())};
}

}  // namespace leeway
