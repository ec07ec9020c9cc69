#include "common/process_http.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/readiness.h"
#include "tests/catch.h"
#include "tests/support/http_client.h"
#include "tests/support/temp_directory.h"
#include "tests/support/tokens.h"

namespace leeway {
namespace {

void Set(const std::vector<std::string>& flags) { REQUIRE(SetFlags(flags, {}, nullptr).ok()); }

std::string Ask(const HttpServer& server, const std::string& path) {
  HttpClient client(server.port());
  client.Get(path);
  return client.Answer();
}

TEST_CASE("ProcessHttp: health, readiness with its reason, status, and the process's own paths") {
  const std::string port_file = absl::StrCat(std::getenv("TEST_TMPDIR"), "/http.port");
  Set({"--http_port=0", "--http_address=127.0.0.1", absl::StrCat("--http_port_file=", port_file)});
  Readiness readiness(absl::UnavailableError("loads its data"));
  ProcessHttp process{"ps", "ps-3", [&readiness] { return readiness.Get(); }};
  process.handlers["/own"] = [](const HttpRequest&) { return HttpResponse{.body = "own"}; };
  const auto server = StartProcessHttp(process);
  INFO(server.status().ToString());
  REQUIRE(server.ok());
  REQUIRE(*server != nullptr);
  std::string written;
  std::getline(std::ifstream(port_file) >> std::ws, written);
  CHECK(written == (*server)->address());

  CHECK(absl::StrContains(Ask(**server, "/healthz"), "200 OK"));
  const std::string not_ready = Ask(**server, "/readyz");
  CHECK(absl::StrContains(not_ready, "HTTP/1.1 503"));
  CHECK(absl::StrContains(not_ready, "loads its data"));
  CHECK(absl::StrContains(Ask(**server, "/statusz"), "not ready: loads its data"));
  readiness.Set(absl::OkStatus());
  CHECK(absl::StrContains(Ask(**server, "/readyz"), "200 OK"));
  const std::string status = Ask(**server, "/statusz");
  CHECK(absl::StrContains(status, "ps-3, up for "));
  CHECK(absl::StrContains(status, "--http_port=0\n"));
  CHECK(absl::StrContains(Ask(**server, "/own"), "own"));
}

TEST_CASE("ProcessHttp: where tokens are asked for, an observer's is enough, and probes need none") {
  const TempDirectory folder;
  Set({"--http_port=0", "--http_address=127.0.0.1", "--http_port_file="});
  ProcessHttp process{"ps", "ps-0", [] { return absl::OkStatus(); }};
  process.security.authorizer = Authorizer::Load(RealFileSystem(), folder.Write("tokens", kTokensFile)).value();
  const auto server = StartProcessHttp(process);
  REQUIRE(server.ok());
  for (const char* open : {"/healthz", "/readyz"}) CHECK(absl::StrContains(Ask(**server, open), "200 OK"));
  CHECK(absl::StrContains(Ask(**server, "/statusz"), "HTTP/1.1 401"));
  const auto with = [&](const std::string& token) {
    HttpClient client((*server)->port());
    client.Get("/statusz", absl::StrCat("Authorization: Bearer ", token, "\r\n"));
    return client.Answer();
  };
  CHECK(absl::StrContains(with("token-of-a-stranger"), "HTTP/1.1 401"));
  CHECK(absl::StrContains(with(kObserverToken), "200 OK"));
  CHECK(absl::StrContains(with(kAdminToken), "200 OK"));
}

TEST_CASE("ProcessHttp: nothing listens by default, nor in the clear where other machines can reach it") {
  const ProcessHttp process{"ps", "ps-0", [] { return absl::OkStatus(); }};
  Set({"--http_port=-1"});
  CHECK(*StartProcessHttp(process) == nullptr);
  Set({"--http_port=0", "--http_address=0.0.0.0", "--http_port_file="});
  const absl::Status refused = StartProcessHttp(process).status();
  CHECK(refused.code() == absl::StatusCode::kInvalidArgument);
  CHECK(absl::StrContains(std::string(refused.message()), "--http_address=0.0.0.0"));
  ProcessHttp insecure = process;
  insecure.security.insecure = true;
  CHECK(StartProcessHttp(insecure).ok());
  Set({"--http_port=70000", "--http_address=127.0.0.1"});
  CHECK(StartProcessHttp(process).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace leeway
