// What is wrong with certificates, told before they are used.
#include "common/certificates.h"

#include <string>

#include "cli/bench/make_certificate.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"
#include "tests/support/temp_directory.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

TEST_CASE("certificates: facts of good ones, words for bad ones") {
  const TempDirectory folder;
  const absl::Time now = absl::Now();
  const PemPair authority = MakeCertificate({.subject = "the authority"}).value();
  const PemPair pair = MakeCertificate({.subject = "a ps",
                                        .not_before = now - absl::Hours(2),
                                        .not_after = now + absl::Hours(3),
                                        .issuer = &authority})
                           .value();
  const TlsFiles files{folder.Write("crt", pair.cert), folder.Write("key", pair.key),
                       folder.Write("ca", authority.cert), ""};
  const auto check = [&](absl::Time when) { return CheckCertificates(RealFileSystem(), files, when); };
  const auto facts = check(now);
  REQUIRE(facts.ok());
  CHECK(facts->subject == "CN=a ps");
  CHECK(absl::AbsDuration(facts->not_after - (now + absl::Hours(3))) <= absl::Seconds(1));
  CHECK(Says(check(now + absl::Hours(4)).status(), Code::kInvalidArgument, {files.cert.c_str(), "CN=a ps", "expired"}));
  CHECK(Says(check(now - absl::Hours(4)).status(), Code::kInvalidArgument, {files.cert.c_str(), "valid only from"}));
  SECTION("a key of another certificate") {
    folder.Write("key", authority.key);
    CHECK(
        Says(check(now).status(), Code::kInvalidArgument, {files.key.c_str(), "does not belong", files.cert.c_str()}));
  }
  SECTION("no certificate in the file") {
    folder.Write("crt", pair.key);
    CHECK(Says(check(now).status(), Code::kInvalidArgument, {files.cert.c_str(), "no PEM certificate"}));
  }
  SECTION("no key in the file") {
    folder.Write("key", "");
    CHECK(Says(check(now).status(), Code::kInvalidArgument, {files.key.c_str(), "no PEM private key"}));
  }
  SECTION("no authority in the file") {
    folder.Write("ca", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    CHECK(Says(check(now).status(), Code::kInvalidArgument, {files.ca.c_str(), "no PEM certificate"}));
  }
  SECTION("no file") {
    std::filesystem::remove(files.ca);
    CHECK(Says(check(now).status(), Code::kNotFound, {files.ca.c_str()}));
  }
}

TEST_CASE("certificates: whose one is, by name, by address, by a pattern") {
  const TempDirectory folder;
  const std::string path = folder.Write(
      "crt", MakeCertificate({.subject = "a ps", .names = "DNS:ps-0.example,DNS:*.svc.local,IP:10.0.0.1,IP:fd00::1"})
                 .value()
                 .cert);
  const auto names = [&](const std::string& host) { return CertificateNames(RealFileSystem(), path, host).value(); };
  for (const char* host : {"ps-0.example", "any.svc.local", "10.0.0.1", "fd00::1", "fd00:0:0::1"}) CHECK(names(host));
  for (const char* host : {"ps-1.example", "10.0.0.2", "fd00::2", "a ps", "svc.local"}) CHECK_FALSE(names(host));
  CHECK(CertificateNames(RealFileSystem(), path + "x", "10.0.0.1").status().code() == Code::kNotFound);
}

}  // namespace
}  // namespace leeway
