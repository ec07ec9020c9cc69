#include "server/page/page_handlers.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/gzip.h"
#include "server/page/status_json.h"
#include "server/page/status_page.h"

namespace leeway {
namespace {

// A text, and the same packed, once somebody has asked for it.
struct Packed {
  std::string text;
  std::optional<std::string> gzip;

  HttpResponse Answer(const HttpRequest& request, const char* content_type) {
    HttpResponse response{.content_type = content_type};
    response.headers = {{"Vary", "Accept-Encoding"}};
    if (AcceptsGzip(request.accept_encoding)) {
      if (!gzip) gzip = Gzip(text);
      response.body = *gzip;
      response.headers.emplace_back("Content-Encoding", "gzip");
    } else {
      response.body = text;
    }
    return response;
  }
};

struct Cached {
  Packed json;
  std::optional<Instant> made;
};

}  // namespace

std::map<std::string, HttpHandler> PageHandlers(std::function<absl::StatusOr<v1::GetStatusReply>()> status,
                                                std::function<Instant()> now) {
  std::map<std::string, HttpHandler> handlers;
  handlers["/"] = [page = std::make_shared<Packed>(Packed{kStatusPage, {}})](const HttpRequest& request) {
    HttpResponse response = page->Answer(request, "text/html; charset=utf-8");
    response.headers.emplace_back("Content-Security-Policy", kStatusPagePolicy);
    response.headers.emplace_back("Referrer-Policy", "no-referrer");
    return response;
  };
  handlers["/api/status"] = [status = std::move(status), now = std::move(now),
                             cached = std::make_shared<Cached>()](const HttpRequest& request) -> HttpResponse {
    const Instant time = now();
    if (!cached->made || time - *cached->made >= kStatusAge) {
      const absl::StatusOr<v1::GetStatusReply> reply = status();
      if (!reply.ok()) return {.status = 503, .body = absl::StrCat(reply.status().message(), "\n")};
      cached->json = {StatusJson(*reply), {}};
      cached->made = time;
    }
    return cached->json.Answer(request, "application/json");
  };
  return handlers;
}

}  // namespace leeway
