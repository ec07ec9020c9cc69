// Linked into tests that use gRPC: holds gRPC for the life of the process.
//
// The last grpc_shutdown(), run by the destructor of a server, may wait 10 s for a poller (gRPC 1.51.1). A reference
// that is never given back means that there is no last one.
#include <grpc/grpc.h>

namespace leeway {
namespace {

[[maybe_unused]] const bool kGrpcHeld = [] {
  grpc_init();
  return true;
}();

}  // namespace
}  // namespace leeway
