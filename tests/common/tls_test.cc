// gRPC over mTLS, and tokens over every carrier: who belongs together talks, everybody else is refused with the right
// status and disturbs nobody; certificates and tokens change while calls go on.
#include <arpa/inet.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/bench/make_certificate.h"
#include "common/grpc_server.h"
#include "common/grpc_transport.h"
#include "common/local_server.h"
#include "common/local_transport.h"
#include "common/message_size.h"
#include "common/openssl_objects.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"
#include "tests/support/temp_directory.h"
#include "tests/support/tokens.h"
#include "tests/support/transport_suite.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

constexpr char kStatus[] = "Coordinator/GetStatus";
constexpr char kCheckpoint[] = "Coordinator/Checkpoint";
constexpr char kPush[] = "ParameterServer/Push";

// Files of certificates in a folder of their own.
class Pki {
 public:
  // Named alike or not, authorities are told apart by their keys.
  explicit Pki(const std::string& name = "the authority") : authority_(MakeCertificate({.subject = name}).value()) {}

  // A certificate of this authority; `name` of the files.
  TlsFiles Identity(const std::string& name, CertificateRequest request = {}) const {
    request.subject = name;
    request.issuer = &authority_;
    const PemPair pair = MakeCertificate(request).value();
    return Write(name, pair, authority_.cert);
  }
  TlsFiles Write(const std::string& name, const PemPair& pair, const std::string& believed) const {
    return {folder_.Write(name + ".crt", pair.cert), folder_.Write(name + ".key", pair.key),
            folder_.Write(name + ".ca", believed), ""};
  }
  const PemPair& authority() const { return authority_; }

 private:
  const TempDirectory folder_;
  const PemPair authority_;
};

struct Server {
  explicit Server(const TlsFiles& tls, const GrpcServer::Options& options = {}) {
    GrpcServer::Options with_tls = options;
    with_tls.security.tls = tls;
    server = *GrpcServer::Start("127.0.0.1:0", &handler, with_tls);
    address = absl::StrCat("127.0.0.1:", server->port());
  }
  ~Server() { server->Shutdown(); }

  // By new connections.
  absl::Status Ask(const TlsFiles& tls) const { return PushPullTwice(*MakeGrpcTransport({.security = {.tls = tls}})); }
  // A small message, and one of several frames.
  absl::Status PushPullTwice(Transport& transport) const {
    absl::Status status = PushPullThere(transport, address, 1, "small");
    status.Update(PushPullThere(transport, address, 2, std::string(3 << 20, 'x')));
    return status;
  }

  ScriptedHandler handler;
  std::unique_ptr<GrpcServer> server;
  std::string address;
};

TEST_CASE("mTLS with tokens: what every transport promises") {
  const Pki pki;
  const TempDirectory folder;
  const TlsFiles tls = pki.Identity("ps");
  Security security{.tls = tls};
  security.token = TokenSource::Load(RealFileSystem(), folder.Write("token", kAdminToken)).value();
  security.authorizer = Authorizer::Load(RealFileSystem(), folder.Write("tokens", kTokensFile)).value();
  CheckTransport(
      {[&](RequestHandler* handler) {
         std::shared_ptr<GrpcServer> server = *GrpcServer::Start("127.0.0.1:0", handler, {.security = security});
         return ServerUnderTest{absl::StrCat("127.0.0.1:", server->port()), [server] { server->Shutdown(); }};
       },
       [&] { return MakeGrpcTransport({.security = security}); }, "127.0.0.1:1"});
}

TEST_CASE("local sockets with tokens: what every transport promises") {
  const TempDirectory folder;
  const std::string address = absl::StrCat("local:leeway-test-", std::random_device()());
  const std::shared_ptr<TokenSource> token =
      TokenSource::Load(RealFileSystem(), folder.Write("token", kAdminToken)).value();
  const std::shared_ptr<Authorizer> authorizer =
      Authorizer::Load(RealFileSystem(), folder.Write("tokens", kTokensFile)).value();
  CheckTransport({[&](RequestHandler* handler) {
                    const std::shared_ptr<LocalServer> server = *LocalServer::Start(address, handler, authorizer);
                    return ServerUnderTest{address, [server] { server->Shutdown(); }};
                  },
                  [&] { return MakeLocalTransport(token); },
                  absl::StrCat("local:leeway-test-", std::random_device()())});
}

TEST_CASE("mTLS: strangers are refused as UNAVAILABLE, and the others are served on") {
  const Pki pki, other;
  const Server server(pki.Identity("ps"));
  const TlsFiles good = pki.Identity("worker");
  REQUIRE(server.Ask(good) == absl::OkStatus());
  const auto honest = MakeGrpcTransport({.security = {.tls = good}});
  REQUIRE(server.PushPullTwice(*honest) == absl::OkStatus());

  const PemPair foreign = MakeCertificate({.subject = "foreign", .issuer = &other.authority()}).value();
  const absl::Time hour_ago = absl::Now() - absl::Hours(1);
  TlsFiles stranger;
  SECTION("a certificate of another authority") { stranger = pki.Write("foreign", foreign, pki.authority().cert); }
  SECTION("an expired certificate") {
    stranger = pki.Identity("late", {.not_before = hour_ago - absl::Hours(1), .not_after = hour_ago});
  }
  SECTION("a certificate that is not valid yet") {
    stranger = pki.Identity("early", {.not_before = absl::Now() + absl::Hours(1)});
  }
  SECTION("a client that does not believe the server's authority") {
    stranger = other.Write("misled", MakeCertificate({.subject = "misled", .issuer = &pki.authority()}).value(),
                           other.authority().cert);
  }
  SECTION("in the clear") {}
  CHECK(Says(server.Ask(stranger), Code::kUnavailable, {server.address.c_str()}));
  CHECK(server.PushPullTwice(*honest) == absl::OkStatus());
  CHECK(server.Ask(good) == absl::OkStatus());
}

TEST_CASE("mTLS: a client without a certificate is refused") {
  const Pki pki;
  const Server server(pki.Identity("ps"));
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = pki.authority().cert;
  grpc::GenericStub stub(grpc::CreateChannel(server.address, grpc::SslCredentials(options)));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  grpc::ByteBuffer request(nullptr, 0), reply;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, absl::StrCat("/leeway.v1.", kStatus), request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  REQUIRE(queue.Next(&tag, &ok));
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("mTLS: a server's own certificate is looked at too") {
  const Pki pki, other;
  const TlsFiles good = pki.Identity("worker");
  const absl::Time hour_ago = absl::Now() - absl::Hours(1);
  SECTION("expired") {
    const Server server(pki.Identity("ps", {.not_before = hour_ago - absl::Hours(1), .not_after = hour_ago}));
    CHECK(Says(server.Ask(good), Code::kUnavailable, {"certificate"}));
  }
  SECTION("of another authority") {
    const Pki named = Pki("another authority");
    for (const Pki* foreign : {&other, &named}) {
      const PemPair pair = MakeCertificate({.subject = "foreign", .issuer = &foreign->authority()}).value();
      const Server server(pki.Write("foreign", pair, pki.authority().cert));
      CHECK(Says(server.Ask(good), Code::kUnavailable, {server.address.c_str()}));
    }
  }
  SECTION("made out to another name, unless that is the one asked for") {
    const Server server(pki.Identity("ps", {.names = "DNS:leeway-ps.training.svc"}));
    CHECK(Says(server.Ask(good), Code::kUnavailable, {server.address.c_str()}));
    TlsFiles named = good;
    named.server_name = "leeway-ps.training.svc";
    CHECK(server.Ask(named) == absl::OkStatus());
    named.server_name = "another.training.svc";
    CHECK(absl::IsUnavailable(server.Ask(named)));
  }
}

TEST_CASE("mTLS: certificates are replaced while calls go on") {
  const Pki before, after;
  const TlsFiles tls = before.Identity("ps");
  const Server server(tls);
  const auto held = MakeGrpcTransport({.security = {.tls = tls}});
  REQUIRE(server.PushPullTwice(*held) == absl::OkStatus());
  const TlsFiles new_only = after.Identity("worker");
  CHECK(absl::IsUnavailable(server.Ask(new_only)));
  // All three files at once, with another authority: now they belong to `after`.
  const PemPair pair = MakeCertificate({.subject = "ps", .issuer = &after.authority()}).value();
  before.Write("ps", pair, after.authority().cert);
  absl::Status status = absl::UnavailableError("not asked");
  for (int i = 0; i < 200 && !status.ok(); ++i) {
    status = server.Ask(new_only);
    // What had begun goes on all the time.
    CHECK(server.PushPullTwice(*held) == absl::OkStatus());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  CHECK(status == absl::OkStatus());
  // And whoever still has the old ones is a stranger now.
  CHECK(absl::IsUnavailable(server.Ask(before.Identity("worker"))));
}

// As `openssl x509 -noout -fingerprint -sha256 -in FILE` prints it.
std::string FingerprintOf(const std::string& file) {
  const std::string pem = RealFileSystem().Read(file).value();
  const OwnedCertificate certificate(PEM_read_bio_X509(MemoryBio(pem).get(), nullptr, nullptr, nullptr));
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_digest(certificate.get(), EVP_sha256(), hash, &size);
  return absl::BytesToHexString({reinterpret_cast<const char*>(hash), size});
}

TEST_CASE("mTLS: a certificate is revoked while its connection is open, and by both ends") {
  const Pki pki;
  const TempDirectory folder;
  const TlsFiles ps = pki.Identity("ps"), stolen = pki.Identity("stolen"), good = pki.Identity("worker");
  GrpcServer::Options options;
  options.security.revoked = RevokedCertificates::Load(RealFileSystem(), folder.Write("revoked", "")).value();
  const Server server(ps, options);
  const auto held = MakeGrpcTransport({.security = {.tls = stolen}});
  // (Of the coordinator's methods, all of which go over one connection.)
  const auto ask_held = [&] { return CallAndWait(*held, server.address, kStatus, {}).status; };
  REQUIRE(absl::StrContains(ask_held().message(), kStatus));  // the handler's answer
  REQUIRE_FALSE(absl::IsUnauthenticated(ask_held()));
  REQUIRE(server.Ask(good) == absl::OkStatus());

  folder.Write("revoked", FingerprintOf(stolen.cert));
  REQUIRE(options.security.revoked->Reload() == absl::OkStatus());
  CHECK(Says(ask_held(), Code::kUnauthenticated, {FingerprintOf(stolen.cert).c_str(), "revoked"}));
  CHECK(Says(server.Ask(stolen), Code::kUnavailable, {server.address.c_str()}));
  CHECK(server.Ask(good) == absl::OkStatus());

  // A client that has been told of the server's certificate; and its name is still looked at.
  Security told{.tls = good};
  told.revoked = RevokedCertificates::Load(RealFileSystem(), folder.Write("of ps", FingerprintOf(ps.cert))).value();
  CHECK(Says(server.PushPullTwice(*MakeGrpcTransport({.security = told})), Code::kUnavailable, {"revoked"}));
  told.revoked = options.security.revoked;
  CHECK(server.PushPullTwice(*MakeGrpcTransport({.security = told})) == absl::OkStatus());
  told.tls.server_name = "another.training.svc";
  CHECK(absl::IsUnavailable(server.PushPullTwice(*MakeGrpcTransport({.security = told}))));
}

// The calls of the tests of tokens, over any carrier.
void CheckTokens(const std::function<std::unique_ptr<Transport>(std::shared_ptr<TokenSource>)>& transport_with,
                 const std::string& address, Authorizer& authorizer, const TempDirectory& folder) {
  const auto call = [&](const char* token, const char* method) {
    std::shared_ptr<TokenSource> source;
    if (token != nullptr) source = TokenSource::Load(RealFileSystem(), folder.Write("mine", token)).value();
    return CallAndWait(*transport_with(source), address, method, {}).status;
  };
  // The handler knows none of these: it names them in its error.
  const auto reached = [](const absl::Status& status) { return absl::IsFailedPrecondition(status); };
  for (const char* method : {kStatus, kCheckpoint, kPush, "ParameterServer/PushPull", "ParameterServer/Pull"}) {
    CAPTURE(method);
    CHECK(Says(call(nullptr, method), Code::kUnauthenticated, {method, "none was sent"}));
    CHECK(Says(call("token-of-a-stranger", method), Code::kUnauthenticated, {method, "not known"}));
  }
  CHECK(reached(call(kObserverToken, kStatus)));
  CHECK(Says(call(kObserverToken, kPush), Code::kPermissionDenied, {kPush, "role worker", "grafana"}));
  CHECK(absl::IsResourceExhausted(call(kWorkerToken, kPush)));  // as the handler answers it
  CHECK(Says(call(kWorkerToken, kCheckpoint), Code::kPermissionDenied, {kCheckpoint, "role admin"}));
  CHECK(reached(call(kAdminToken, kCheckpoint)));
  // The callers' token changes, and then those that are let in.
  const auto source = TokenSource::Load(RealFileSystem(), folder.Write("mine", kWorkerToken)).value();
  const auto transport = transport_with(source);
  CHECK(absl::IsPermissionDenied(CallAndWait(*transport, address, kCheckpoint, {}).status));
  folder.Write("mine", kAdminToken);
  REQUIRE(source->Reload().ok());
  CHECK(reached(CallAndWait(*transport, address, kCheckpoint, {}).status));
  folder.Write("tokens", absl::StrCat("admin ", std::string(64, 'a')));
  REQUIRE(authorizer.Reload().ok());
  CHECK(absl::IsUnauthenticated(CallAndWait(*transport, address, kCheckpoint, {}).status));
}

TEST_CASE("tokens: over gRPC") {
  const TempDirectory folder;
  const std::shared_ptr<Authorizer> authorizer =
      Authorizer::Load(RealFileSystem(), folder.Write("tokens", kTokensFile)).value();
  const Server server({}, {.security = {.authorizer = authorizer}});
  CheckTokens([](auto token) { return MakeGrpcTransport({.security = {.token = std::move(token)}}); }, server.address,
              *authorizer, folder);
}

TEST_CASE("tokens: over local sockets") {
  const TempDirectory folder;
  const std::shared_ptr<Authorizer> authorizer =
      Authorizer::Load(RealFileSystem(), folder.Write("tokens", kTokensFile)).value();
  ScriptedHandler handler;
  const std::string address = absl::StrCat("local:leeway-test-", std::random_device()());
  const auto server = *LocalServer::Start(address, &handler, authorizer);
  CheckTokens([](auto token) { return MakeLocalTransport(std::move(token)); }, address, *authorizer, folder);
}

TEST_CASE("tokens: none is sent in the clear to another machine") {
  const TempDirectory folder;
  Security security;
  security.token = TokenSource::Load(RealFileSystem(), folder.Write("token", kWorkerToken)).value();
  const std::string beyond = "192.0.2.1:7000";  // nobody's
  const auto call = [&](const Security& with) {
    return CallAndWait(*MakeGrpcTransport({.security = with}), beyond, kStatus, {}, absl::Milliseconds(50)).status;
  };
  CHECK(Says(call(security), Code::kPermissionDenied, {beyond.c_str(), "--tls_cert_file", "--insecure"}));
  security.insecure = true;
  CHECK_FALSE(absl::IsPermissionDenied(call(security)));
}

int Connect(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return fd;
}

TEST_CASE("who connects and says nothing, or nonsense, is not kept") {
  const Pki pki;
  const bool tls = GENERATE(false, true);
  const TlsFiles files = tls ? pki.Identity("ps") : TlsFiles{};
  const Server server(files, {.handshake_time = absl::Milliseconds(300)});
  std::vector<int> strangers;
  for (int i = 0; i < 20; ++i) strangers.push_back(Connect(server.server->port()));
  const std::string nonsense(100'000, 'n');
  for (int i = 0; i < 10; ++i)
    (void)send(strangers[static_cast<std::size_t>(i)], nonsense.data(), nonsense.size(), MSG_NOSIGNAL);
  CHECK(server.Ask(files) == absl::OkStatus());
  for (const int fd : strangers) {
    char byte[4096];
    while (recv(fd, byte, sizeof(byte), 0) > 0) {  // until the server closes it
    }
    close(fd);
  }
  CHECK(server.Ask(files) == absl::OkStatus());
}

// Answers everything with more than a message may hold.
class Liar final : public RequestHandler {
 public:
  void Handle(const std::string&, Buffer, ReplyCallback done) override {
    done(absl::OkStatus(), Buffer::FromString(std::string(kMaxMessageBytes + 1, 'x')));
  }
};

TEST_CASE("a reply of more than 16 MiB is refused too") {
  Liar liar;
  const auto server = *GrpcServer::Start("127.0.0.1:0", &liar);
  const auto transport = MakeGrpcTransport();
  for (const char* method : {kStatus, kPush}) {
    CHECK(Says(CallAndWait(*transport, absl::StrCat("127.0.0.1:", server->port()), method, {}).status,
               Code::kResourceExhausted, {"larger than max"}));
  }
}

}  // namespace
}  // namespace leeway
