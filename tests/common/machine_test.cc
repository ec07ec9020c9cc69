#include "common/machine.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("The host's name is the boot's id and the network namespace") {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  const std::string host = HostId();
  CHECK(host == HostId());
  if (boot.empty() || access("/proc/self/ns/net", F_OK) != 0) {
    CHECK(host.empty());  // a system that does not say
    return;
  }
  CHECK(host.find(boot + "/") == 0);
  // The same for a child, another one in another network namespace.
  const auto child_agrees = [&host](bool own_network) {
    const pid_t child = fork();
    if (child == 0) {
      if (own_network && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) _exit(2);
      _exit(HostId() == host ? 1 : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  CHECK(child_agrees(false) == 1);
  const int elsewhere = child_agrees(true);
  CHECK((elsewhere == 0 || elsewhere == 2));  // 2: such namespaces are not allowed here
}

}  // namespace
}  // namespace leeway
