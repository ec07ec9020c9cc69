#include "cli/bench/peer.h"

#include <unistd.h>

#include <cstdint>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/bench/peer_handlers.h"
#include "cli/bench/plain_grpc.h"
#include "cli/bench/raw_socket.h"
#include "common/allocator.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/grpc_server.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(30);

// What a peer is made of; it lives as long as the process.
struct Serving {
  std::unique_ptr<RequestHandler> handler;
  std::vector<std::unique_ptr<GrpcServer>> servers;
  std::unique_ptr<PlainServer> plain;
  std::vector<std::string> addresses;
};

absl::Status ServeOverTcp(Serving* serving) {
  ASSIGN_OR_RETURN(auto server, GrpcServer::Start({.listen = "127.0.0.1:0"}, serving->handler.get()));
  serving->addresses.push_back(absl::StrCat("127.0.0.1:", server->port()));
  serving->servers.push_back(std::move(server));
  return absl::OkStatus();
}

absl::Status ServeOverUnix(Serving* serving) {
  const std::string address = absl::StrCat("unix-abstract:leeway-bench-", getpid());
  ASSIGN_OR_RETURN(auto server, GrpcServer::Start({.listen = address}, serving->handler.get()));
  serving->addresses.push_back(address);
  serving->servers.push_back(std::move(server));
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
    return ServeOverTcp(serving);
  }
  KeepFreedMemory();
  if (kind == kRawPeer) {
    ASSIGN_OR_RETURN(const RawAddresses raw, ServeRaw(bytes));
    serving->addresses = {raw.tcp, raw.local};
    return absl::OkStatus();
  }
  if (kind == kEchoPeer) {
    ASSIGN_OR_RETURN(serving->plain, StartEchoServer());
    serving->addresses = {serving->plain->address()};
    return absl::OkStatus();
  }
  if (kind == kLeewayEchoPeer) {
    serving->handler = std::make_unique<EchoHandler>();
    return ServeOverTcp(serving);
  }
  if (kind != kLeewayPeer) return absl::InvalidArgumentError(absl::StrCat("leeway bench-peer: no kind ", kind));
  ASSIGN_OR_RETURN(serving->handler, PeerHandler::Make(elements));
  RETURN_IF_ERROR(ServeOverTcp(serving));
  if (absl::Status status = ServeOverUnix(serving); !status.ok()) spdlog::warn("no Unix socket: {}", status);
  return absl::OkStatus();
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
