#include "server/page/page_handlers.h"

#include <string>

#include "tests/catch.h"

namespace leeway {
namespace {

std::string Header(const HttpResponse& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

TEST_CASE("the page: one file that loads nothing, with a policy that lets it run its own script alone") {
  auto handlers = PageHandlers([] { return v1::GetStatusReply(); }, [] { return Instant{}; });
  const HttpResponse page = handlers.at("/")({});
  CHECK(page.status == 200);
  CHECK(page.body.find("<!doctype html>") == 0);
  CHECK(page.body.find("/*STYLE*/") == std::string::npos);
  CHECK(page.body.find("/*SCRIPT*/") == std::string::npos);
  // (The w3.org address names the icon's format; nothing is fetched from it.)
  std::string rest = page.body;
  for (std::size_t at = 0; (at = rest.find("http://www.w3.org/2000/svg")) != std::string::npos;) rest.erase(at, 26);
  CHECK(rest.find("http://") == std::string::npos);
  CHECK(rest.find("https://") == std::string::npos);
  CHECK(rest.find("innerHTML") == std::string::npos);
  const std::string policy = Header(page, "Content-Security-Policy");
  CHECK(policy.find("default-src 'none'; script-src 'sha256-") == 0);
  CHECK(Header(page, "Content-Encoding").empty());
  HttpRequest request;
  request.accept_encoding = "gzip, br";
  const HttpResponse packed = handlers.at("/")(request);
  CHECK(Header(packed, "Content-Encoding") == "gzip");
  CHECK(packed.body.size() < page.body.size() / 2);
}

TEST_CASE("the status is asked for once in its time, however many watch, and why there is none is told") {
  int asked = 0;
  Instant now{1};
  auto handlers = PageHandlers(
      [&asked]() -> absl::StatusOr<v1::GetStatusReply> {
        if (++asked == 1) return absl::UnavailableError("reads its files");
        v1::GetStatusReply status;
        status.set_steps(static_cast<std::uint64_t>(asked));
        return status;
      },
      [&now] { return now; });
  const HttpResponse none = handlers.at("/api/status")({});
  CHECK(none.status == 503);
  CHECK(none.body == "reads its files\n");
  HttpRequest request;
  for (int i = 0; i < 50; ++i) {
    request.accept_encoding = i % 2 == 0 ? "" : "gzip";
    const HttpResponse status = handlers.at("/api/status")(request);
    CHECK(status.status == 200);
    CHECK(Header(status, "Content-Encoding") == request.accept_encoding);
    if (i % 2 == 0) CHECK(status.body.find("\"steps\":2") != std::string::npos);
  }
  CHECK(asked == 2);
  now = now + kStatusAge;
  CHECK(handlers.at("/api/status")({}).body.find("\"steps\":3") != std::string::npos);
}

}  // namespace
}  // namespace leeway
