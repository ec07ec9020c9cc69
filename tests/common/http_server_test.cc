#include "common/http_server.h"

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/http_client.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

HttpServer::Options Hello() {
  HttpServer::Options options;
  options.handlers["/hello"] = [](const HttpRequest& request) {
    return HttpResponse{.body = "hello " + request.query + " " + request.token};
  };
  return options;
}

std::unique_ptr<HttpServer> Started(HttpServer::Options options) {
  auto server = HttpServer::Start(std::move(options));
  INFO(server.status().ToString());
  REQUIRE(server.ok());
  return *std::move(server);
}

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What a client that behaves gets, whatever others do.
std::string HelloFrom(const HttpServer& server) {
  HttpClient client(server.port());
  client.Get("/hello?you");
  return client.Answer();
}

TEST_CASE("HttpServer: answers GET and HEAD of its paths, one request after another on a connection") {
  const auto server = Started(Hello());
  CHECK(server->url() == "http://127.0.0.1:" + std::to_string(server->port()) + "/");
  HttpClient client(server->port());
  REQUIRE(client.connected());
  client.Get("/hello?a=1");
  const std::string first = client.Answer();
  CHECK(Contains(first, "HTTP/1.1 200 OK\r\n"));
  CHECK(Contains(first, "\r\n\r\nhello a=1 "));
  CHECK(Contains(first, "X-Content-Type-Options: nosniff"));
  client.Send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const std::string head = client.Answer(/*has_body=*/false);
  CHECK(Contains(head, "Content-Length: 7\r\n"));
  client.Get("/nothing");
  const std::string nothing = client.Answer();
  CHECK(Contains(nothing, "HTTP/1.1 404"));
  CHECK(Contains(nothing, "there are /hello"));
  client.Send("POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  const std::string post = client.Answer();
  CHECK(Contains(post, "HTTP/1.1 405"));
  CHECK(Contains(post, "Allow: GET, HEAD"));
  // Two at once, and the end after an answer.
  client.Send(
      "GET /hello?1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hello?2 HTTP/1.1\r\nHost: localhost\r\nConnection: "
      "close\r\n\r\n");
  CHECK(Contains(client.Answer(), "hello 1"));
  CHECK(Contains(client.Answer(), "hello 2"));
  CHECK(client.Ended());
}

TEST_CASE("HttpServer: for this machine alone, no name is answered that a site could have lead here") {
  const auto ask = [](const HttpServer& server, const std::string& host) {
    HttpClient client(server.port());
    client.Send("GET /hello?you HTTP/1.1\r\n" + host + "\r\n");
    return client.Answer();
  };
  const auto server = Started(Hello());
  for (const char* good : {"Host: localhost:80\r\n", "Host: LocalHost\r\n", "Host: 127.0.0.1:8080\r\n",
                           "Host: [::1]:80\r\n", "Host: 10.0.0.1\r\n", ""}) {
    CAPTURE(good);
    CHECK(Contains(ask(*server, good), "hello you"));
  }
  for (const char* bad : {"Host: evil.example\r\n", "Host: localhost.evil.example:80\r\n",
                          "Host: 127.0.0.1.evil.example\r\n", "Host: [evil\r\n"}) {
    CAPTURE(bad);
    const std::string answer = ask(*server, bad);
    CHECK(Contains(answer, "HTTP/1.1 421"));
    CHECK_FALSE(Contains(answer, "hello"));
  }
  // Where a token is asked for, no site's visitor has it.
  HttpServer::Options options = Hello();
  options.authorize = [](const HttpRequest&) { return absl::OkStatus(); };
  CHECK(Contains(ask(*Started(std::move(options)), "Host: proxy.example\r\n"), "hello you"));
}

TEST_CASE("HttpServer: asks its authorizer, which sees the token as Bearer and as the password of Basic") {
  HttpServer::Options options = Hello();
  options.handlers["/healthz"] = [](const HttpRequest&) { return HttpResponse{.body = "ok"}; };
  options.authorize = [](const HttpRequest& request) {
    if (request.token == "secret") return absl::OkStatus();
    if (request.token.empty()) return absl::UnauthenticatedError("no token");
    return absl::PermissionDeniedError("wrong token");
  };
  const auto server = Started(std::move(options));
  HttpClient client(server->port());
  client.Get("/hello");
  const std::string none = client.Answer();
  CHECK(Contains(none, "HTTP/1.1 401"));
  CHECK(Contains(none, "WWW-Authenticate: Bearer"));
  CHECK(Contains(none, "WWW-Authenticate: Basic realm="));
  client.Get("/nothing");  // which paths there are is not told either
  CHECK(Contains(client.Answer(), "HTTP/1.1 401"));
  client.Get("/hello", "Authorization: Bearer other\r\n");
  CHECK(Contains(client.Answer(), "HTTP/1.1 403"));
  client.Get("/hello", "Authorization: Bearer secret\r\n");
  CHECK(Contains(client.Answer(), "HTTP/1.1 200"));
  client.Get("/hello", "Authorization: Basic bWU6c2VjcmV0\r\n");  // me:secret
  CHECK(Contains(client.Answer(), "hello  secret"));
  client.Get("/hello", "Authorization: Basic !!!\r\n");
  CHECK(Contains(client.Answer(), "HTTP/1.1 401"));
  client.Get("/healthz");
  CHECK(Contains(client.Answer(), "HTTP/1.1 200"));
}

TEST_CASE("HttpServer: what is too large or no HTTP is refused, and the connection ended") {
  const auto server = Started(Hello());
  const std::string long_value(HttpServer::kMostRequestBytes, 'a');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GET /hello HTTP/1.1\r\nX: " + long_value + "\r\n\r\n", "HTTP/1.1 431"},
      {"GET /" + long_value + " HTTP/1.1\r\n\r\n", "HTTP/1.1 431"},
      {"GET /hello HTTP/1.1\r\nContent-Length: 9000000000\r\n\r\n", "HTTP/1.1 413"},
      {"GET /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 413"},
      {"GET /hello HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400"},
      {"GET /hello\r\n\r\n", "HTTP/1.1 400"},
      {"\x16\x03\x01\x02 this is no HTTP\r\n\r\n", "HTTP/1.1 400"},
  };
  for (const auto& [sent, expected] : cases) {
    HttpClient client(server->port());
    client.Send(sent);
    INFO(sent.substr(0, 80));
    CHECK(Contains(client.Answer(), expected));
    CHECK(client.Ended());
  }
  CHECK(Contains(HelloFrom(*server), "hello you"));
}

TEST_CASE("HttpServer: random bytes disturb nobody") {
  const auto server = Started(Hello());
  Random random(TestSeed());
  for (int i = 0; i < 200; ++i) {
    HttpClient client(server->port());
    std::string bytes = i % 2 == 0 ? "" : "GET /hello HTTP/1.1\r\nHost: localhost\r\n";
    for (std::uint64_t size = random.Below(2000); size > 0; --size) bytes.push_back(static_cast<char>(random.Bits()));
    client.Send(bytes + "\r\n\r\n");
    if (i % 3 == 0) client.Answer();
  }
  CHECK(Contains(HelloFrom(*server), "hello you"));
}

TEST_CASE("HttpServer: who sends slowly or nothing, or does not read, is cut off") {
  HttpServer::Options options = Hello();
  options.request_time = absl::Milliseconds(300);
  options.idle_time = absl::Milliseconds(300);
  options.write_time = absl::Milliseconds(300);
  options.handlers["/large"] = [](const HttpRequest&) { return HttpResponse{.body = std::string(64 << 20, 'x')}; };
  const auto server = Started(std::move(options));

  HttpClient silent(server->port());
  HttpClient slow(server->port());
  HttpClient idle(server->port());
  idle.Get("/hello");
  CHECK(Contains(idle.Answer(), "hello"));
  HttpClient unread(server->port());
  unread.Get("/large");
  // One byte after another, each well within the time: the time is that of the whole request.
  while (slow.Send("G")) CHECK(Contains(HelloFrom(*server), "hello you"));
  CHECK(silent.Ended());
  CHECK(idle.Ended());
  std::string large = unread.Answer();
  CHECK(large.empty());  // the connection ended before all of it was there
}

TEST_CASE("HttpServer: one connection too many ends the one that has been waited for longest") {
  HttpServer::Options options = Hello();
  options.max_connections = 3;
  const auto server = Started(std::move(options));
  HttpClient first(server->port());
  first.Get("/hello");
  CHECK(Contains(first.Answer(), "hello"));
  HttpClient second(server->port());
  second.Get("/hello");
  CHECK(Contains(second.Answer(), "hello"));
  HttpClient third(server->port());
  third.Get("/hello");
  CHECK(Contains(third.Answer(), "hello"));
  first.Get("/hello");  // now the second has been silent for longest
  CHECK(Contains(first.Answer(), "hello"));
  CHECK(Contains(HelloFrom(*server), "hello you"));
  CHECK(second.Ended());
  third.Get("/hello");
  CHECK(Contains(third.Answer(), "hello"));
}

TEST_CASE("HttpServer: a handler that throws costs its asker an answer, and nobody else") {
  HttpServer::Options options = Hello();
  options.handlers["/throws"] = [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("on purpose"); };
  const auto server = Started(std::move(options));
  HttpClient client(server->port());
  client.Get("/throws");
  CHECK(Contains(client.Answer(), "HTTP/1.1 500"));
  client.Get("/hello?again");
  CHECK(Contains(client.Answer(), "hello again"));
}

TEST_CASE("HttpServer: an address where it cannot listen is refused, with the reason") {
  const auto server = Started(Hello());
  HttpServer::Options options = Hello();
  options.address = server->address();
  const auto taken = HttpServer::Start(options);
  CHECK(taken.status().code() == absl::StatusCode::kUnavailable);
  CHECK(Contains(std::string(taken.status().message()), server->address()));
  options.address = "example.org:80";
  CHECK(HttpServer::Start(options).status().code() == absl::StatusCode::kInvalidArgument);
  options.address = "127.0.0.1";
  CHECK(HttpServer::Start(options).status().code() == absl::StatusCode::kInvalidArgument);
  options.address = "[::1]:0";
  const auto six = HttpServer::Start(options);
  if (six.ok()) CHECK(Contains((*six)->url(), "http://[::1]:"));
}

TEST_CASE("HttpServer: 0.0.0.0 and [::] are every address, of both families") {
  const bool has_six = HttpServer::Start({.address = "[::1]:0"}).ok();
  for (const char* every : {"0.0.0.0:0", "[::]:0"}) {
    CAPTURE(every);
    if (every[0] == '[' && !has_six) continue;
    HttpServer::Options options;
    options.address = every;
    options.handlers["/peer"] = [](const HttpRequest& request) { return HttpResponse{.body = request.peer}; };
    const auto server = Started(std::move(options));
    HttpClient four(server->port());
    four.Get("/peer");
    CHECK(Contains(four.Answer(), "\r\n\r\n127.0.0.1"));
    if (!has_six) continue;
    HttpClient six(server->port(), AF_INET6);
    six.Get("/peer");
    CHECK(Contains(six.Answer(), "\r\n\r\n::1"));
  }
}

}  // namespace
}  // namespace leeway
