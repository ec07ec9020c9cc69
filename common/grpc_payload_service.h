// PayloadService: the methods whose requests carry weights, gradients or pieces of checkpoints, served so that a
// request is read only when it is its turn (common/read_turns.h). Until then its data stays with the sender: flow
// control holds it back.
//
// gRPC's unary methods read every request at once, however many there are. A stream's reads are the server's to start,
// and on the wire a unary call is a stream of one message each way: so these methods are streams on this side, and
// clients see unary ones. gRPC hands over whatever no other service has registered; the rest is UNIMPLEMENTED.
//
// Thread safety: any thread. Ownership: `handler` outlives it; it outlives the server.
#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <string>
#include <utility>

#include "common/mutex.h"
#include "common/read_turns.h"
#include "common/security.h"
#include "common/transport.h"

namespace leeway {

class PayloadService final : public grpc::CallbackGenericService {
 public:
  // `security` is asked before a request gets a turn. `longest_turn`: who has not sent his message after this loses his
  // turn, and the call.
  PayloadService(RequestHandler* handler, Security security, absl::Duration longest_turn)
      : handler_(handler), security_(std::move(security)), longest_turn_(longest_turn) {}

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

  std::size_t reading();  // requests whose turn it is, whole or not

 private:
  friend class PayloadCall;

  RequestHandler* const handler_;
  const Security security_;
  const absl::Duration longest_turn_;
  Mutex mu_;
  ReadTurns turns_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
