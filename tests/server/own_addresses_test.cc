#include "server/own_addresses.h"

#include "tests/catch.h"

namespace leeway {
namespace {

void Check(const char* listen, const char* advertise, const char* others, const char* self) {
  CAPTURE(listen, advertise);
  const auto own = OwnAddressesOf(listen, advertise, 7100);
  REQUIRE(own.ok());
  CHECK(own->others == others);
  CHECK(own->self == self);
}

TEST_CASE("By which addresses a ps is reached, by others and by itself") {
  Check("127.0.0.1:0", "", "127.0.0.1:7100", "127.0.0.1:7100");
  Check("[::1]:0", "", "[::1]:7100", "[::1]:7100");
  Check("10.0.0.1:7100", "ps-0.ps:0", "ps-0.ps:7100", "ps-0.ps:7100");
  Check("0.0.0.0:7100", "10.0.0.1:30100", "10.0.0.1:30100", "127.0.0.1:7100");
  Check("[::]:0", "[fd00::1]:0", "[fd00::1]:7100", "[::1]:7100");
  Check("0.0.0.0:0", "[fd00::1]:10", "[fd00::1]:10", "127.0.0.1:7100");
  CHECK_FALSE(OwnAddressesOf("::1:7100", "", 7100).ok());
}

}  // namespace
}  // namespace leeway
