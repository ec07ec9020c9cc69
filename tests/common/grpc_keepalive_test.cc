// Keepalive on both ends: what one of them does the other allows, so that a quiet connection stays.
#include "common/grpc_keepalive.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/grpc_server.h"
#include "common/grpc_transport.h"
#include "common/mutex.h"
#include "proto/coordinator.grpc.pb.h"
#include "tests/catch.h"
#include "tests/support/transport_suite.h"

namespace leeway {
namespace {

// Short ones, so that many pings fit into the quiet time of a test; the ratio is that of the real ones.
constexpr Keepalive kShort{absl::Milliseconds(90), absl::Seconds(20), absl::Milliseconds(30)};
constexpr auto kQuiet = std::chrono::seconds(2);
// A server that does not expect what kShort does: it allows three pings too many, then ends the connection.
constexpr Keepalive kStrict{absl::Hours(1), absl::Seconds(20), absl::Hours(1)};

// Whether the channel leaves READY by itself within `time`.
bool IsCutOff(const std::string& address, std::chrono::milliseconds time) {
  grpc::ChannelArguments arguments;
  SetKeepalive(kShort, &arguments);
  const auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  REQUIRE(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
  return channel->WaitForStateChange(GRPC_CHANNEL_READY, std::chrono::system_clock::now() + time);
}

TEST_CASE("The real numbers fit each other: a server allows what a client does") {
  const Keepalive real;
  CHECK(real.within >= absl::Seconds(10));  // twice the time after which gRPC looks for the answer
  CHECK(real.least * 2 <= real.every);
  CHECK(real.within < real.every);
}

TEST_CASE("A connection stays that is quiet for many keepalive intervals, and a server that allows less cuts it off") {
  ScriptedHandler handler;
  const auto allows = *GrpcServer::Start("127.0.0.1:0", &handler, {.keepalive = kShort});
  CHECK_FALSE(IsCutOff(absl::StrCat("127.0.0.1:", allows->port()), kQuiet));
  const auto strict = *GrpcServer::Start("127.0.0.1:0", &handler, {.keepalive = kStrict});
  CHECK(IsCutOff(absl::StrCat("127.0.0.1:", strict->port()), std::chrono::seconds(30)));
}

// Answers GetStatus, and notes from which port each call came.
class PeerService final : public v1::Coordinator::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest*, v1::GetStatusReply*) override {
    MutexLock lock(mu_);
    peers_.push_back(context->peer());
    return grpc::Status::OK;
  }
  std::vector<std::string> peers() {
    MutexLock lock(mu_);
    return peers_;
  }

 private:
  Mutex mu_;
  std::vector<std::string> peers_ LEEWAY_GUARDED_BY(mu_);
};

// The ports that two calls of the worker's transport came from, with a quiet time between them.
std::vector<std::string> PortsOfTwoCalls(const Keepalive& server_keepalive, std::chrono::seconds quiet) {
  PeerService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  SetKeepalive(server_keepalive, &builder);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  GrpcTransportOptions options;
  options.keepalive = kShort;
  const std::unique_ptr<Transport> transport = MakeGrpcTransport(options);
  const std::string address = absl::StrCat("127.0.0.1:", port);
  REQUIRE(CallAndWait(*transport, address, "Coordinator/GetStatus", {}).status.ok());
  std::this_thread::sleep_for(quiet);
  REQUIRE(CallAndWait(*transport, address, "Coordinator/GetStatus", {}).status.ok());
  return service.peers();
}

TEST_CASE("The transport of workers and ps pings while it is quiet, and keeps its connection") {
  const std::vector<std::string> kept = PortsOfTwoCalls(kShort, kQuiet);
  REQUIRE(kept.size() == 2);
  CHECK(kept[0] == kept[1]);
  // The same against a server that does not allow it: so it has pinged. On a busy machine that takes a while.
  bool cut = false;
  for (auto quiet = kQuiet; !cut && quiet < std::chrono::seconds(20); quiet *= 2) {
    const std::vector<std::string> ports = PortsOfTwoCalls(kStrict, quiet);
    REQUIRE(ports.size() == 2);
    cut = ports[0] != ports[1];
  }
  CHECK(cut);
}

}  // namespace
}  // namespace leeway
