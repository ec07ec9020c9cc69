// Buffer to grpc::ByteBuffer and back, by reference in both directions.
//
// Thread safety: pure functions.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "common/buffer.h"

namespace leeway {

grpc::ByteBuffer ToGrpc(const Buffer& buffer);
Buffer FromGrpc(const grpc::ByteBuffer& bytes);

}  // namespace leeway
