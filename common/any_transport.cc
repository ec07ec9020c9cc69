#include "common/any_transport.h"

#include <string>
#include <utility>

#include "common/grpc_transport.h"
#include "common/local_socket.h"
#include "common/local_transport.h"

namespace leeway {
namespace {

class AnyTransport final : public Transport {
 public:
  explicit AnyTransport(const Security& security)
      : grpc_(MakeGrpcTransport({.security = security})), local_(MakeLocalTransport(security.token)) {}

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    Transport& transport = IsLocalAddress(address) ? *local_ : *grpc_;
    transport.Call(address, method, std::move(request), timeout, std::move(done));
  }

 private:
  const std::unique_ptr<Transport> grpc_;
  const std::unique_ptr<Transport> local_;
};

}  // namespace

std::unique_ptr<Transport> MakeTransport(const Security& security) { return std::make_unique<AnyTransport>(security); }

}  // namespace leeway
