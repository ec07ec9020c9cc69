#include <grpc/grpc.h>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("gRPC is held before the first test case and outlives the last user") {
  CHECK(grpc_is_initialized() != 0);
  grpc_init();
  grpc_shutdown();
  CHECK(grpc_is_initialized() != 0);
}

}  // namespace
}  // namespace leeway
