// The Transport that daemons use: "local:NAME" over local sockets, every other address over gRPC.
//
// Thread safety and ownership: as Transport's; but once its destruction has begun, callbacks must not call again.
#pragma once

#include <memory>

#include "common/security.h"
#include "common/transport.h"

namespace leeway {

std::unique_ptr<Transport> MakeTransport(const Security& security = {});

}  // namespace leeway
