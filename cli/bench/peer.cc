#include "cli/bench/peer.h"

#include <unistd.h>

#include <cstdint>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/bench/make_certificate.h"
#include "cli/bench/peer_handlers.h"
#include "cli/bench/plain_grpc.h"
#include "cli/bench/raw_socket.h"
#include "cli/bench/raw_tls.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/grpc_server.h"
#include "common/local_server.h"
#include "common/local_socket.h"
#include "common/status_macros.h"
#include "common/tune_process.h"

namespace leeway {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(30);

// What a peer is made of; it lives as long as the process.
struct Serving {
  std::unique_ptr<RequestHandler> handler;
  std::unique_ptr<GrpcServer> server;
  std::unique_ptr<LocalServer> local;
  std::unique_ptr<PlainServer> plain;
  std::vector<std::string> addresses;
};

// `local`: over a local socket as well.
absl::Status ServeHandler(bool local, Serving* serving, const TlsFiles& tls = {}) {
  ASSIGN_OR_RETURN(serving->server,
                   GrpcServer::Start("127.0.0.1:0", serving->handler.get(), {.security = {.tls = tls}}));
  serving->addresses = {absl::StrCat("127.0.0.1:", serving->server->port())};
  if (local) {
    serving->addresses.push_back(absl::StrCat(kLocalScheme, "leeway-bench-", getpid()));
    ASSIGN_OR_RETURN(serving->local, LocalServer::Start(serving->addresses.back(), serving->handler.get()));
  }
  return absl::OkStatus();
}

absl::Status Serve(const std::string& kind, std::uint64_t elements, const std::string& address, Serving* serving) {
  const std::size_t bytes = elements * sizeof(float);
  if (kind == kProtobufPeer) {  // with the allocator as the shell has it, as a plain program has
    ASSIGN_OR_RETURN(serving->plain, StartProtobufServer(bytes));
    serving->addresses = {serving->plain->address()};
    return absl::OkStatus();
  }
  if (kind == kProtobufClient) {
    serving->handler = MakeProtobufDriver(address, elements);
    return ServeHandler(/*local=*/false, serving);
  }
  TuneProcess();
  if (kind == kRawPeer) {
    ASSIGN_OR_RETURN(const RawAddresses raw, ServeRaw(bytes));
    serving->addresses = {raw.tcp, raw.local};
    return absl::OkStatus();
  }
  if (kind == kRawTlsPeer) {
    ASSIGN_OR_RETURN(const std::string raw, ServeRawTls(bytes, BenchTls(address)));
    serving->addresses = {raw};
    return absl::OkStatus();
  }
  if (kind == kEchoPeer) {
    ASSIGN_OR_RETURN(serving->plain, StartEchoServer());
    serving->addresses = {serving->plain->address()};
    return absl::OkStatus();
  }
  if (kind == kLeewayEchoPeer) {
    serving->handler = std::make_unique<EchoHandler>();
    return ServeHandler(/*local=*/true, serving);
  }
  if (kind != kLeewayPeer && kind != kLeewayTlsPeer) {
    return absl::InvalidArgumentError(absl::StrCat("leeway bench-peer: no kind ", kind));
  }
  ASSIGN_OR_RETURN(serving->handler, PeerHandler::Make(elements));
  if (kind == kLeewayTlsPeer) return ServeHandler(/*local=*/false, serving, BenchTls(address));
  return ServeHandler(/*local=*/true, serving);
}

std::vector<std::string> Environment() {
  std::vector<std::string> environment;
  for (char** word = environ; *word != nullptr; ++word) environment.emplace_back(*word);
  return environment;
}

}  // namespace

int RunBenchPeer(const std::vector<std::string>& words, int, char**) {
  std::uint64_t elements = 0;
  if (words.size() < 3 || !absl::SimpleAtoi(words[1], &elements)) {
    ExitWithError(absl::InvalidArgumentError("leeway bench-peer takes KIND ELEMENTS FILE [ADDRESS]"));
  }
  Serving serving;
  absl::Status status = Serve(words[0], elements, words.size() > 3 ? words[3] : "", &serving);
  if (status.ok()) {
    status = WriteAtomically(RealFileSystem(), words[2], absl::StrJoin(serving.addresses, "\n") + "\n");
  }
  if (!status.ok()) ExitWithError(status);
  for (;;) pause();
}

TlsFiles BenchTls(const std::string& folder) {
  return {folder + "/tls.crt", folder + "/tls.key", folder + "/tls.crt", ""};
}

absl::Status WriteBenchTls(const std::string& folder) {
  ASSIGN_OR_RETURN(const PemPair pair, MakeCertificate({.subject = "leeway bench"}));
  const TlsFiles files = BenchTls(folder);
  RETURN_IF_ERROR(WriteAtomically(RealFileSystem(), files.cert, pair.cert));
  return WriteAtomically(RealFileSystem(), files.key, pair.key);
}

absl::StatusOr<Peer> StartPeer(const std::string& kind, std::uint64_t elements, const std::string& directory,
                               const std::function<bool(absl::Duration)>& wait, const std::string& address) {
  const std::string file = absl::StrCat(directory, "/", kind, ".addresses");
  const std::string log = absl::StrCat(directory, "/", kind, ".log");
  std::vector<std::string> command = {"/proc/self/exe", "bench-peer", kind, absl::StrCat(elements), file};
  if (!address.empty()) command.push_back(address);
  Peer peer;
  ASSIGN_OR_RETURN(peer.process, Process::Start({"bench peer " + kind, command, Environment(), log}));
  const absl::Time deadline = absl::Now() + kStartTimeout;
  for (;;) {
    std::ifstream lines(file);
    for (std::string line; std::getline(lines, line);) peer.addresses.push_back(line);
    if (!peer.addresses.empty()) return peer;
    if (peer.process->Poll()) {
      return absl::UnavailableError(
          absl::StrCat("bench peer ", kind, " ", Describe(*peer.process->Poll()), "; see ", log));
    }
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat("bench peer ", kind, " does not serve; see ", log));
    }
    if (!wait(absl::Milliseconds(10))) return absl::CancelledError("interrupted");
  }
}

}  // namespace leeway
