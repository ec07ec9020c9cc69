#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/http_server.h"
#include "tests/catch.h"
#include "tests/support/http_client.h"

namespace leeway {
namespace {

std::string Folder() {
  const char* folder = std::getenv("TEST_TMPDIR");
  return folder == nullptr ? std::filesystem::temp_directory_path().string() : folder;
}

// Signed by itself, for `name`, in the files that the server is told of: written aside, then put in place.
void MakeCertificate(const std::string& stem, const std::string& name) {
  const std::string command =
      absl::StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=", name,
                   " -keyout ", stem, ".key.new -out ", stem, ".crt.new 2>/dev/null && mv ", stem, ".key.new ", stem,
                   ".key && mv ", stem, ".crt.new ", stem, ".crt");
  REQUIRE(std::system(command.c_str()) == 0);
}

struct Answer {
  std::string name;  // of the server's certificate; "": no connection
  std::string text;
};

Answer Get(int port, const std::string& path, const std::string& own_certificate = "") {
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!own_certificate.empty()) {
    REQUIRE(SSL_CTX_use_certificate_file(context.get(), (own_certificate + ".crt").c_str(), SSL_FILETYPE_PEM) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(context.get(), (own_certificate + ".key").c_str(), SSL_FILETYPE_PEM) == 1);
  }
  const HttpClient client(port);
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), client.fd());
  Answer answer;
  if (SSL_connect(ssl.get()) != 1) return answer;
  char name[256] = "";
  const std::unique_ptr<X509, void (*)(X509*)> certificate(SSL_get1_peer_certificate(ssl.get()), X509_free);
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name, sizeof(name));
  answer.name = name;
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  SSL_write(ssl.get(), request.data(), static_cast<int>(request.size()));
  char bytes[4096];
  for (int got = 0; (got = SSL_read(ssl.get(), bytes, sizeof(bytes))) > 0;) {
    answer.text.append(bytes, static_cast<std::size_t>(got));
  }
  return answer;
}

HttpServer::Options Hello(const std::string& stem) {
  HttpServer::Options options;
  options.handlers["/hello"] = [](const HttpRequest&) { return HttpResponse{.body = "hello"}; };
  options.tls = HttpServer::Tls{stem + ".crt", stem + ".key", ""};
  return options;
}

TEST_CASE("HttpServer over TLS: answers, refuses plain HTTP, and takes new certificates while it runs") {
  const std::string stem = Folder() + "/server";
  MakeCertificate(stem, "first");
  const auto server = HttpServer::Start(Hello(stem));
  INFO(server.status().ToString());
  REQUIRE(server.ok());
  CHECK((*server)->url().substr(0, 8) == "https://");
  const Answer first = Get((*server)->port(), "/hello");
  CHECK(first.name == "first");
  CHECK(first.text.find("\r\n\r\nhello") != std::string::npos);

  HttpClient plain((*server)->port());
  plain.Get("/hello");
  CHECK(plain.Answer().find("200 OK") == std::string::npos);
  CHECK(plain.Ended());

  // Half of the new pair, or nonsense, changes nothing.
  REQUIRE(std::system(absl::StrCat("echo nonsense > ", stem, ".crt").c_str()) == 0);
  CHECK(Get((*server)->port(), "/hello").name == "first");
  MakeCertificate(stem, "second");
  CHECK(Get((*server)->port(), "/hello").name == "second");
}

TEST_CASE("HttpServer over TLS: with an authority, only its clients are answered") {
  const std::string stem = Folder() + "/own";
  MakeCertificate(stem, "server");
  MakeCertificate(Folder() + "/stranger", "stranger");
  HttpServer::Options options = Hello(stem);
  options.tls->ca_file = stem + ".crt";
  const auto server = HttpServer::Start(options);
  REQUIRE(server.ok());
  CHECK(Get((*server)->port(), "/hello", stem).text.find("hello") != std::string::npos);
  CHECK(Get((*server)->port(), "/hello").text.empty());
  CHECK(Get((*server)->port(), "/hello", Folder() + "/stranger").text.empty());
}

TEST_CASE("HttpServer over TLS: a file that is missing or does not fit is refused at start, by name") {
  const std::string stem = Folder() + "/start";
  MakeCertificate(stem, "one");
  MakeCertificate(stem + "2", "two");
  HttpServer::Options options = Hello(stem);
  options.tls->key_file = stem + ".missing";
  const absl::Status missing = HttpServer::Start(options).status();
  CHECK(missing.code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::string(missing.message()).find(stem + ".missing") != std::string::npos);
  options.tls->key_file = stem + "2.key";
  CHECK(HttpServer::Start(options).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace leeway
