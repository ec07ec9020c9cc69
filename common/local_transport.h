// The Transport to processes of the same machine: frames over local sockets ("local:NAME"), without a network stack.
// Requests with much to carry and all others have a connection each: the request of a pull never waits behind the
// gradients of a push, and pushes and pulls overlap.
//
// Thread safety and ownership: as Transport's.
#pragma once

#include <memory>

#include "common/token_source.h"
#include "common/transport.h"

namespace leeway {

// `token`: null, or what every call carries.
std::unique_ptr<Transport> MakeLocalTransport(std::shared_ptr<TokenSource> token = nullptr);

}  // namespace leeway
