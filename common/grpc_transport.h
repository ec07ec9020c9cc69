// The Transport over gRPC: one channel per address, raw buffers, a deadline on every call.
//
// Thread safety and ownership: as Transport's. Several calls to one server share its connection.
#pragma once

#include <memory>

#include "common/transport.h"

namespace leeway {

std::unique_ptr<Transport> MakeGrpcTransport();

}  // namespace leeway
