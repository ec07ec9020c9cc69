// StartProcessHttp: what every process of Leeway answers over HTTP, as --http_port, --http_address and --http_port_file
// (common/http_flags.h) say:
//   /healthz   200 while the process lives and answers: says nothing of others
//   /readyz    200 while it serves or trains, else 503 and why not
//   /statusz   for people: version, uptime, the flags that were given
// and what the process itself has beside.
//
// Thread safety: StartProcessHttp from main(), after signals are blocked: the server's thread inherits the mask.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/http_server.h"
#include "common/security.h"

namespace leeway {

struct ProcessHttp {
  std::string program;                               // "ps"
  std::string name;                                  // "ps-0"
  std::function<absl::Status()> ready;               // not OK: the message says what is missing
  std::map<std::string, HttpHandler> handlers = {};  // further paths
  std::function<std::string()> now = nullptr;        // for /statusz: what else is so now, in lines; null: nothing
  // Its certificate is shown (browsers and probes show none); tokens of role observer are asked for, but for the paths
  // that are HttpServer's open ones; in the clear also where other machines can listen, with `insecure`.
  Security security = {};
};

// Null with --http_port=-1. INVALID_ARGUMENT: a flag; UNAVAILABLE: cannot listen there, or write the file.
absl::StatusOr<std::unique_ptr<HttpServer>> StartProcessHttp(ProcessHttp process);

}  // namespace leeway
