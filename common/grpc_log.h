// What gRPC itself has to say goes through spdlog, as every other line.
//
// Thread safety: any thread.
#pragma once

namespace leeway {

// From now on. Errors (a handshake that failed, a descriptor that is missing) come as warnings, one in 10 s at most:
// strangers can cause as many as they like. The rest, which GRPC_VERBOSITY turns on, comes at --log_level=debug.
void TakeOverGrpcLog();

}  // namespace leeway
