#include "common/socket.h"

#include <memory>

#include "tests/catch.h"
#include "tests/support/local_listener.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

TEST_CASE("A probe of an abstract unix socket says whether a server accepts there") {
  auto server = std::make_unique<LocalListener>();
  REQUIRE(server->ok());
  const std::string address = server->address();
  CHECK(ProbeLocalSocket(address).ok());
  CHECK(Says(ProbeLocalSocket(address + "x"), Code::kUnavailable, {address.c_str(), "Connection refused"}));
  server.reset();
  CHECK(Says(ProbeLocalSocket(address), Code::kUnavailable, {"Connection refused"}));
}

TEST_CASE("A probe does not wait for a server that accepts nobody") {
  const LocalListener deaf(-1);
  REQUIRE(deaf.ok());
  CHECK(Says(ProbeLocalSocket(deaf.address()), Code::kUnavailable, {"Connection refused"}));
  const LocalListener full(0);  // its queue holds one
  REQUIRE(full.ok());
  CHECK(ProbeLocalSocket(full.address()).ok());
  CHECK(Says(ProbeLocalSocket(full.address()), Code::kUnavailable, {"temporarily unavailable"}));
}

TEST_CASE("Only abstract unix sockets are probed") {
  for (const char* address : {"", "unix-abstract:", "127.0.0.1:80", "unix:/run/x", "dns:///example.org:80"}) {
    CHECK(Says(ProbeLocalSocket(address), Code::kInvalidArgument, {address, "unix-abstract:NAME"}));
  }
  CHECK(Says(ProbeLocalSocket("unix-abstract:" + std::string(108, 'x')), Code::kInvalidArgument, {"at most 107"}));
  CHECK(absl::IsUnavailable(ProbeLocalSocket("unix-abstract:" + std::string(107, 'x'))));
}

}  // namespace
}  // namespace leeway
