#include "common/local_socket.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>

#include "tests/catch.h"
#include "tests/support/local_listener.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

TEST_CASE("A probe of an local socket says whether a server accepts there") {
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

TEST_CASE("Only local sockets are probed") {
  for (const char* address : {"", "local:", "127.0.0.1:80", "unix-abstract:x", "dns:///example.org:80"}) {
    CHECK(Says(ProbeLocalSocket(address), Code::kInvalidArgument, {address, "local:NAME"}));
  }
  CHECK(Says(ProbeLocalSocket("local:" + std::string(108, 'x')), Code::kInvalidArgument, {"at most 107"}));
  CHECK(absl::IsUnavailable(ProbeLocalSocket("local:" + std::string(107, 'x'))));
}

TEST_CASE("The other end must be of the same user, or root") {
  const LocalListener server;
  REQUIRE(server.ok());
  const absl::StatusOr<int> own = ConnectLocal(server.address());
  REQUIRE(own.ok());
  const int accepted = accept(server.fd(), nullptr, nullptr);
  CHECK(CheckPeer(*own) == absl::OkStatus());
  CHECK(CheckPeer(accepted) == absl::OkStatus());
  close(accepted);
  close(*own);
  constexpr uid_t kStranger = 12345;
  const pid_t child = fork();
  if (child == 0) {
    const bool changed = setuid(kStranger) == 0;
    const absl::StatusOr<int> socket = ConnectLocal(server.address());
    _exit(socket.ok() && changed ? 0 : 1);
  }
  REQUIRE(child > 0);
  const int stranger = accept(server.fd(), nullptr, nullptr);
  int status = 0;
  waitpid(child, &status, 0);
  const absl::Status checked = CheckPeer(stranger);
  close(stranger);
  if (status != 0) {
    WARN("not tried with another user: only root can be one");
  } else {
    CHECK(Says(checked, Code::kPermissionDenied, {"user 12345", "user 0"}));
  }
}

}  // namespace
}  // namespace leeway
