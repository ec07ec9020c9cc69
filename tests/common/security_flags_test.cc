// The flags of TLS and tokens: what goes together, what is refused at start, what may be listened on.
#include "common/security_flags.h"

#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/bench/make_certificate.h"
#include "common/flags.h"
#include "common/log.h"
#include "common/socket.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"
#include "tests/support/temp_directory.h"
#include "tests/support/tokens.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

absl::StatusOr<Security> From(const std::vector<std::string>& words) {
  const absl::FlagSaver saver;
  REQUIRE(SetFlags(words, {}, nullptr).ok());
  return SecurityFromFlags();
}

TEST_CASE("security flags: nothing is given") {
  const auto security = From({});
  REQUIRE(security.ok());
  CHECK(security->tls.empty());
  CHECK(security->token == nullptr);
  CHECK(security->authorizer == nullptr);
  CHECK_FALSE(security->insecure);
}

TEST_CASE("security flags: the three files of TLS go together") {
  const TempDirectory folder;
  const PemPair pair = MakeCertificate({.subject = "a ps"}).value();
  const std::string cert = "--tls_cert_file=" + folder.Write("crt", pair.cert);
  const std::string key = "--tls_key_file=" + folder.Write("key", pair.key);
  const std::string ca = "--tls_ca_file=" + folder.Write("ca", pair.cert);
  CHECK(From({cert, key, ca}).value().tls.ca == folder / "ca");
  CHECK(Says(From({cert, key}).status(), Code::kInvalidArgument, {"--tls_ca_file=", "go together"}));
  CHECK(Says(From({cert, ca}).status(), Code::kInvalidArgument, {"--tls_key_file=", "go together"}));
  CHECK(Says(From({ca}).status(), Code::kInvalidArgument, {"--tls_cert_file=", "go together"}));
  CHECK(Says(From({"--tls_server_name=ps"}).status(), Code::kInvalidArgument, {"--tls_server_name=ps"}));
  CHECK(From({cert, key, ca, "--tls_revoked_file=" + folder.Write("revoked", "# none")}).value().revoked != nullptr);
  CHECK(Says(From({cert, key, ca, "--tls_revoked_file=" + folder.Write("names", "CN=worker")}).status(),
             Code::kInvalidArgument, {"--tls_revoked_file", (folder / "names").c_str(), "line 1"}));
  CHECK(Says(From({"--tls_revoked_file=" + folder / "revoked"}).status(), Code::kInvalidArgument,
             {"--tls_revoked_file=", "nothing without --tls_cert_file"}));
  folder.Write("key", "no key");
  CHECK(Says(From({cert, key, ca}).status(), Code::kInvalidArgument, {"--tls_cert_file", (folder / "key").c_str()}));
}

TEST_CASE("security flags: files of tokens are read at once") {
  const TempDirectory folder;
  const auto security = From(
      {"--token_file=" + folder.Write("token", kWorkerToken), "--tokens_file=" + folder.Write("tokens", kTokensFile)});
  REQUIRE(security.ok());
  CHECK(BearerToken(security->token->Bearer()) == kWorkerToken);
  CHECK(security->authorizer->CheckMethod("ParameterServer/Push", kWorkerToken, "test").ok());
  CHECK(Says(From({"--token_file=" + folder / "none"}).status(), Code::kInvalidArgument, {"--token_file", "none"}));
  CHECK(Says(From({"--tokens_file=" + folder.Write("bad", "root x")}).status(), Code::kInvalidArgument,
             {"--tokens_file", "bad", "line 1"}));
}

// What is logged while it lives.
class Logged {
 public:
  Logged() : before_(spdlog::default_logger()) {
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)));
  }
  ~Logged() { spdlog::set_default_logger(before_); }
  std::string text() const { return text_.str(); }

 private:
  const std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

TEST_CASE("security flags: that files are looked at is nothing to say, until one of them has changed") {
  const TempDirectory folder;
  const PemPair pair = MakeCertificate({.subject = "a ps"}).value();
  const std::string cert = "--tls_cert_file=" + folder.Write("crt", pair.cert);
  const std::string key = "--tls_key_file=" + folder.Write("key", pair.key);
  const std::string ca = "--tls_ca_file=" + folder.Write("ca", pair.cert);
  const Logged logged;
  {
    const auto security = From({cert, key, ca, "--token_file=" + folder.Write("token", kWorkerToken),
                                "--tokens_file=" + folder.Write("tokens", kTokensFile),
                                "--tls_revoked_file=" + folder.Write("revoked", "# none")});
    REQUIRE(security.ok());
    // The first look takes all files, without a word; a later one says what has changed. (The first of these two may
    // still be taken by the first look.)
    for (const auto& token : {kAdminToken, kWorkerToken}) {
      folder.Write("token", token);
      while (BearerToken(security->token->Bearer()) != token) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
  }
  const std::string text = logged.text();
  CHECK_FALSE(text.empty());
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    CHECK(absl::StrContains(line, absl::StrCat("tokens: ", folder / "token", " is read")));
  }
}

TEST_CASE("security flags: a process that others call says until when its certificate is valid") {
  const TempDirectory folder;
  const PemPair pair = MakeCertificate({.subject = "a ps"}).value();
  Security security;
  const Logged logged;
  LogCertificate(security);
  CHECK(logged.text().empty());
  security.tls = {folder.Write("crt", pair.cert), folder.Write("key", pair.key), folder.Write("ca", pair.cert), ""};
  LogCertificate(security);
  CHECK(
      absl::StrContains(logged.text(), absl::StrCat("certificate of CN=a ps from ", folder / "crt", ", valid until")));
}

TEST_CASE("the address by which others call is one that the certificate names, or they have another name to ask for") {
  const TempDirectory folder;
  const PemPair pair = MakeCertificate({.subject = "ps", .names = "DNS:ps-0,IP:10.0.0.1"}).value();
  const auto check = [&](const std::string& address, const std::string& server_name) {
    Security security;
    security.tls = {folder.Write("crt", pair.cert), "key", "ca", server_name};
    return CheckCalledFlag("advertise", address, security);
  };
  CHECK(check("10.0.0.1:7100", "") == absl::OkStatus());
  CHECK(check("ps-0:0", "") == absl::OkStatus());
  CHECK(check("10.0.0.2:7100", "ps-0") == absl::OkStatus());
  CHECK(Says(check("10.0.0.2:7100", ""), Code::kInvalidArgument,
             {"--advertise=10.0.0.2:7100", (folder / "crt").c_str(), "--tls_server_name"}));
  CHECK(Says(check("10.0.0.1:7100", "ps-1"), Code::kInvalidArgument,
             {"--tls_server_name=ps-1", (folder / "crt").c_str()}));
  CHECK(CheckCalledFlag("advertise", "10.0.0.2:7100", {.insecure = true}) == absl::OkStatus());
}

TEST_CASE("nothing is listened on in the clear beyond this machine, unless --insecure says so") {
  for (const char* here : {"127.0.0.1:0", "127.8.9.10:7000", "localhost:1", "[::1]:0", "[::ffff:127.0.0.1]:5"}) {
    CAPTURE(here);
    CHECK(IsLoopback(here));
    CHECK(CheckListenFlag("listen", here, {}) == absl::OkStatus());
  }
  for (const char* beyond : {"0.0.0.0:0", "[::]:0", "10.77.0.10:7070", "128.0.0.1:1", "[::ffff:10.0.0.1]:5",
                             "ps-0:7000", "localhost.example:7000", "127.0.0.1.example:7000"}) {
    CAPTURE(beyond);
    CHECK_FALSE(IsLoopback(beyond));
    CHECK(Says(CheckListenFlag("listen", beyond, {}), Code::kInvalidArgument,
               {absl::StrCat("--listen=", beyond).c_str(), "--insecure", "--tls_cert_file"}));
    CHECK(CheckListenFlag("listen", beyond, {.insecure = true}) == absl::OkStatus());
    CHECK(CheckListenFlag("listen", beyond, {.tls = {"crt", "key", "ca", ""}}) == absl::OkStatus());
  }
}

TEST_CASE("security flags: those that were given are handed on") {
  const absl::FlagSaver saver;
  REQUIRE(SetFlags({"--insecure", "--tls_server_name=ps"}, {"LEEWAY_TOKEN_FILE=/secret/token"}, nullptr).ok());
  const std::vector<std::string> words = GivenSecurityFlags();
  const auto has = [&](const std::string& word) { return std::count(words.begin(), words.end(), word) == 1; };
  CHECK(has("--insecure=true"));
  CHECK(has("--tls_server_name=ps"));
  CHECK(has("--token_file=/secret/token"));
}

}  // namespace
}  // namespace leeway
