#include "common/revoked_certificates.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/bench/make_certificate.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"
#include "tests/support/temp_directory.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

// A certificate, and what `openssl x509 -noout -fingerprint -sha256` says of it.
constexpr char kKnown[] = R"(-----BEGIN CERTIFICATE-----
MIIBhDCCASmgAwIBAgIULwGBy4wJeWF9yY9BHV5i3VhaZo4wCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLbGVld2F5LXRlc3QwIBcNMjYxMTI2MDY0NjUzWhgPMjEyNjEx
MDIwNjQ2NTNaMBYxFDASBgNVBAMMC2xlZXdheS10ZXN0MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEk6xx0ZRDMnxAHbN/qWl+I5i9l3OrKsxYWb4dBvVWBwlT+mbD
bzyJJ05hQjt9EHPHcivefiZjIwfyyOrDll+lIKNTMFEwHQYDVR0OBBYEFDETV4t7
DpOik03fbKhm1sCapv3rMB8GA1UdIwQYMBaAFDETV4t7DpOik03fbKhm1sCapv3r
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAOEuMDtkTj2PSB/4
23SI+Bs3lcEnVlR1iAGX5xQz0O7tAiEA+ovqEkBU0FKskUu5+pDK8o85RxJW4ROd
SjvDVJ3CkI4=
-----END CERTIFICATE-----
)";
constexpr char kFingerprint[] =
    "20:E4:96:C6:03:BF:12:D9:86:CB:D1:7E:16:DE:32:2D:"
    "1F:FC:21:76:7D:92:B9:4D:6E:7B:42:EC:0D:F7:FC:DE";

TEST_CASE("a certificate is revoked by its fingerprint, as openssl prints it or without its colons") {
  const TempDirectory folder;
  const std::string other = MakeCertificate({.subject = "another"}).value().cert;
  std::string plain = absl::AsciiStrToLower(kFingerprint);
  plain.erase(std::remove(plain.begin(), plain.end(), ':'), plain.end());
  for (const std::string& line :
       {std::string(kFingerprint), plain, absl::StrCat("# stolen\r\n ", plain, " old-laptop\r\n")}) {
    const auto revoked = RevokedCertificates::Load(RealFileSystem(), folder.Write("revoked", line)).value();
    CHECK(Says(revoked->Check(kKnown), Code::kUnauthenticated, {plain.c_str(), "is revoked"}));
    CHECK(revoked->Check(other) == absl::OkStatus());
    // What came with it is of no account.
    CHECK(revoked->Check(absl::StrCat(other, kKnown)) == absl::OkStatus());
  }
}

TEST_CASE("a list that is wrong leaves the one before; an empty one revokes nobody") {
  const TempDirectory folder;
  const std::string path = folder.Write("revoked", kFingerprint);
  const auto revoked = RevokedCertificates::Load(RealFileSystem(), path).value();
  for (const char* wrong : {"12:34", "CN=somebody", "\n\nzz"}) {
    folder.Write("revoked", wrong);
    CHECK(Says(revoked->Reload(), Code::kInvalidArgument, {path.c_str(), "line "}));
    CHECK(absl::IsUnauthenticated(revoked->Check(kKnown)));
  }
  folder.Write("revoked", "# nobody\n");
  CHECK(revoked->Reload() == absl::OkStatus());
  CHECK(revoked->Check(kKnown) == absl::OkStatus());
  CHECK(absl::IsUnauthenticated(revoked->Check("no certificate")));
  CHECK(!RevokedCertificates::Load(RealFileSystem(), folder / "none").ok());
}

}  // namespace
}  // namespace leeway
