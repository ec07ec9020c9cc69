// The other end of a bench: `leeway bench-peer KIND ELEMENTS FILE [ADDRESS]`, a process of its own that the bench
// starts, so that neither end borrows the other's memory or CPU time. It writes its addresses to FILE, one a line,
// and serves until it is killed.
//
// Thread safety: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/process.h"
#include "common/certificates.h"

namespace leeway {

// KIND: what it serves.
inline constexpr char kRawPeer[] = "raw";                     // cli/bench/raw_socket.h; TCP and Unix address
inline constexpr char kLeewayPeer[] = "leeway";               // Leeway's server with PeerHandler; TCP and local address
inline constexpr char kProtobufPeer[] = "protobuf";           // cli/bench/plain_grpc.h
inline constexpr char kProtobufClient[] = "protobuf-client";  // pushes and pulls from ADDRESS when told to
inline constexpr char kRawTlsPeer[] = "raw-tls";              // cli/bench/raw_tls.h; ADDRESS: a folder of BenchTls
inline constexpr char kLeewayTlsPeer[] = "leeway-tls";    // as kLeewayPeer, over mTLS; ADDRESS: a folder of BenchTls
inline constexpr char kEchoPeer[] = "echo";               // raw gRPC echo
inline constexpr char kLeewayEchoPeer[] = "leeway-echo";  // Leeway's servers; TCP and local address

// The verb. `words`: KIND and what follows. Does not return unless something is wrong.
int RunBenchPeer(const std::vector<std::string>& words, int argc, char** argv);

// The certificates of a bench, in `folder`; WriteBenchTls makes them.
TlsFiles BenchTls(const std::string& folder);
absl::Status WriteBenchTls(const std::string& folder);

struct Peer {
  std::unique_ptr<Process> process;
  std::vector<std::string> addresses;
};

// Starts one, with its files in `directory`, and waits until it serves. `wait` as in Turns.
absl::StatusOr<Peer> StartPeer(const std::string& kind, std::uint64_t elements, const std::string& directory,
                               const std::function<bool(absl::Duration)>& wait, const std::string& address = "");

}  // namespace leeway
