#include "common/grpc_keepalive.h"

namespace leeway {
namespace {

int Millis(absl::Duration time) { return static_cast<int>(absl::ToInt64Milliseconds(time)); }

}  // namespace

void SetKeepalive(const Keepalive& keepalive, grpc::ChannelArguments* client) {
  client->SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(keepalive.every));
  client->SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(keepalive.within));
  client->SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // gRPC would stop after two pings between which nothing was sent.
  client->SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

void SetKeepalive(const Keepalive& keepalive, grpc::ServerBuilder* server) {
  server->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(keepalive.every));
  server->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(keepalive.within));
  server->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  server->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  server->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, Millis(keepalive.least));
}

}  // namespace leeway
