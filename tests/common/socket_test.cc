#include "common/socket.h"

#include <string>
#include <utility>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("An address is host:port, or [v6]:port") {
  const std::pair<const char*, std::pair<std::string, int>> good[] = {
      {"127.0.0.1:7100", {"127.0.0.1", 7100}},
      {"ps-0.leeway-ps:50051", {"ps-0.leeway-ps", 50051}},
      {"localhost:0", {"localhost", 0}},
      {"[::1]:65535", {"::1", 65535}},
      {"[::]:0", {"::", 0}},
      {"[fe80::1%eth0]:1", {"fe80::1%eth0", 1}}};
  for (const auto& [text, parts] : good) {
    CAPTURE(text);
    const auto split = SplitAddress(text);
    REQUIRE(split.ok());
    CHECK(*split == parts);
    CHECK(JoinAddress(parts.first, parts.second) == text);
  }
  for (const char* text : {"",        ":",       ":7100",   "host",       "host:",     "host:x",
                           "host:-1", "host:+1", "host: 1", "host:65536", "host:1 ",   "host:99999999999999999999",
                           "[::1]",   "[::1",    "[]:1",    "::1]:1",     "[::1]7100", "[[::1]]:1",
                           "a b:1",   "a\n:1"}) {
    CAPTURE(text);
    CHECK(SplitAddress(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("An IPv6 address without brackets is refused with the way to write it") {
  for (const char* text : {"::1:7100", "fd00::2:7100", "::"}) {
    CAPTURE(text);
    const absl::Status status = SplitAddress(text).status();
    CHECK(std::string(status.message()).find("stands in brackets, as in [::1]:7100") != std::string::npos);
  }
}

TEST_CASE("Wildcard and loopback addresses of both families are known as such") {
  for (const char* host : {"0.0.0.0", "::", "0:0:0:0:0:0:0:0"}) CHECK(IsWildcard(host));
  for (const char* host : {"127.0.0.1", "::1", "10.0.0.1", "localhost", "", "0.0.0.1"}) CHECK_FALSE(IsWildcard(host));
  for (const char* host : {"127.0.0.1", "127.5.6.7", "::1", "0:0:0:0:0:0:0:1", "localhost"})
    CHECK(IsLoopbackHost(host));
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "localhost.example", "127.example", ""}) {
    CHECK_FALSE(IsLoopbackHost(host));
  }
}

TEST_CASE("An address is checked before anybody listens on it") {
  CHECK(CheckListenAddress("127.0.0.1:0").ok());
  CHECK(CheckListenAddress("nowhere.invalid:0").code() == absl::StatusCode::kUnavailable);
  CHECK(CheckListenAddress("::1:7100").code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace leeway
