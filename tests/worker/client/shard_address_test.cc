#include "worker/client/shard_address.h"

#include "tests/catch.h"
#include "tests/support/local_listener.h"

namespace leeway {
namespace {

v1::LocalEndpoint Endpoint(const std::string& host, const std::string& address) {
  v1::LocalEndpoint endpoint;
  endpoint.set_host(host);
  endpoint.set_address(address);
  return endpoint;
}

TEST_CASE("A unix socket is taken on the own host where somebody accepts") {
  const LocalListener server;
  REQUIRE(server.ok());
  const auto chosen =
      ChooseAddresses({"a:1", "b:2", "c:3", "d:4", "e:5"},
                      {Endpoint("here", server.address()), Endpoint("there", server.address()),
                       Endpoint("here", "local:nobody"), Endpoint("here", "dns:///elsewhere:1"), Endpoint("", "")},
                      "here");
  REQUIRE(chosen.size() == 5);
  CHECK(chosen[0].dialed() == server.address());
  CHECK(chosen[0].tcp == "a:1");
  CHECK(chosen[1].dialed() == "b:2");
  CHECK(chosen[2].dialed() == "c:3");
  CHECK(chosen[3].dialed() == "d:4");
  CHECK(chosen[4].dialed() == "e:5");
}

TEST_CASE("Without a host of one's own, or without endpoints, it is TCP") {
  const LocalListener server;
  REQUIRE(server.ok());
  CHECK(ChooseAddresses({"a:1"}, {Endpoint("", server.address())}, "").at(0).dialed() == "a:1");
  CHECK(ChooseAddresses({"a:1"}, {Endpoint("here", server.address())}, "").at(0).dialed() == "a:1");
  CHECK(ChooseAddresses({"a:1"}, {}, "here").at(0).dialed() == "a:1");
  CHECK(ChooseAddresses({}, {Endpoint("here", server.address())}, "here").empty());
}

}  // namespace
}  // namespace leeway
