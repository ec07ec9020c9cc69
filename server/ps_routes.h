// PsRoutes: which part of a `ps` serves which method of the protocol.
//
// Thread safety: Handle as RequestHandler's, once the parts are set. Ownership: the parts outlive it.
#pragma once

#include <cstdint>
#include <string>

#include "common/transport.h"
#include "server/checkpoint_store.h"
#include "server/coordinator/coordinator.h"
#include "server/shard.h"

namespace leeway {

class PsRoutes final : public RequestHandler {
 public:
  struct Parts {
    std::uint32_t shard_index = 0;
    std::string coordinator_address;  // for who has asked the wrong `ps`
    Shard* shard = nullptr;
    Coordinator* coordinator = nullptr;  // null: of another `ps`
    CheckpointStore* store = nullptr;    // null: it keeps no checkpoints
  };
  // Before the first request.
  void Set(const Parts& parts) { parts_ = parts; }

  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;

 private:
  Parts parts_;
};

}  // namespace leeway
