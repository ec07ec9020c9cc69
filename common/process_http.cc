#include "common/process_http.h"

#include <chrono>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/http_flags.h"
#include "common/log.h"
#include "common/socket.h"
#include "common/status_macros.h"
#include "common/version.h"

namespace leeway {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

std::string GivenFlags() {
  std::map<std::string, std::string> given;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (FlagGiven(name)) given[std::string(name)] = flag->CurrentValue();
  }
  std::string text;
  for (const auto& [name, value] : given) absl::StrAppend(&text, "--", name, "=", value, "\n");
  return text;
}

HttpResponse Healthz(const HttpRequest&) { return {.body = "ok\n"}; }

HttpResponse Readyz(const std::function<absl::Status()>& ready) {
  const absl::Status status = ready();
  if (status.ok()) return {.body = "ready\n"};
  return {.status = 503, .body = absl::StrCat(status.message(), "\n")};
}

HttpResponse Statusz(const ProcessHttp& process, SteadyTime start) {
  const absl::Duration uptime = absl::FromChrono(std::chrono::steady_clock::now() - start);
  const absl::Status ready = process.ready();
  return {.body = absl::StrCat(VersionLine(process.program), "\n", process.name, ", up for ",
                               absl::FormatDuration(absl::Trunc(uptime, absl::Seconds(1))), "\n",
                               ready.ok() ? "ready" : absl::StrCat("not ready: ", ready.message()), "\n",
                               process.now == nullptr ? "" : process.now(), "\n", GivenFlags())};
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> StartProcessHttp(ProcessHttp process) {
  const std::int32_t port = absl::GetFlag(FLAGS_http_port);
  const std::string host = absl::GetFlag(FLAGS_http_address);
  if (port < -1 || port > 65535) return FlagError("http_port", absl::StrCat(port), "-1 (none) to 65535");
  if (port == -1) return nullptr;
  const Security& security = process.security;
  if (!IsLoopback(JoinAddress(host, port)) && security.tls.empty() && !security.insecure) {
    return FlagError("http_address", host, "127.0.0.1 or ::1 without TLS (--tls_cert_file) or --insecure");
  }
  HttpServer::Options options;
  options.address = JoinAddress(host, port);
  if (!security.tls.empty()) options.tls = HttpServer::Tls{security.tls.cert, security.tls.key, /*ca_file=*/""};
  if (security.authorizer != nullptr) {
    options.authorize = [authorizer = security.authorizer](const HttpRequest& request) {
      return authorizer->Check(Role::kObserver, request.path, request.token, request.peer);
    };
  }
  options.handlers = process.handlers;
  options.handlers["/healthz"] = Healthz;
  options.handlers["/readyz"] = [ready = process.ready](const HttpRequest&) { return Readyz(ready); };
  const std::string name = process.name;
  options.handlers["/statusz"] = [process = std::move(process), start = std::chrono::steady_clock::now()](
                                     const HttpRequest&) { return Statusz(process, start); };
  ASSIGN_OR_RETURN(std::unique_ptr<HttpServer> server, HttpServer::Start(std::move(options)));
  spdlog::info("{}: {}", name, server->url());
  if (const std::string file = absl::GetFlag(FLAGS_http_port_file); !file.empty()) {
    RETURN_IF_ERROR(WriteAtomically(RealFileSystem(), file, server->address() + "\n"));
  }
  return server;
}

}  // namespace leeway
