// Buffer to grpc::ByteBuffer and back, by reference in both directions; but a message that came in crumbs is copied.
//
// Thread safety: pure functions.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "common/buffer.h"

namespace leeway {

// The largest HTTP/2 frame that both ends take. With gRPC's 16 KiB, messages under way at once arrive in turns, frame
// by frame, and are all complete late; with frames as long as a piece of a pull they arrive one after another, each in
// few slices, and are copied while they are still in the cache.
inline constexpr int kGrpcFrameBytes = 1 << 20;

grpc::ByteBuffer ToGrpc(const Buffer& buffer);
Buffer FromGrpc(const grpc::ByteBuffer& bytes);

}  // namespace leeway
