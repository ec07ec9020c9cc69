#include "server/ticket_watermark.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

TEST_CASE("TicketWatermark: the highest serial without a gap below it, whatever the order and repetition") {
  Random random(TestSeed());
  TicketWatermark watermark;
  std::set<std::uint64_t> settled;
  std::vector<std::uint64_t> serials(5000);
  std::iota(serials.begin(), serials.end(), 1);
  for (std::size_t i = 0; i + 1 < serials.size(); ++i) {  // disorder among neighbours
    std::swap(serials[i], serials[std::min(serials.size() - 1, i + random.Below(8))]);
  }
  std::uint64_t expected = 0;
  for (const std::uint64_t serial : serials) {
    for (int repeat = 0; repeat < (random.Chance(0.2) ? 2 : 1); ++repeat) watermark.Settle(serial);
    settled.insert(serial);
    while (settled.count(expected + 1) > 0) ++expected;
    REQUIRE(watermark.value() == expected);
    watermark.Settle(random.Below(expected + 1));  // old news, and 0, which is no ticket
    REQUIRE(watermark.value() == expected);
  }
  CHECK(watermark.value() == 5000);
}

}  // namespace
}  // namespace leeway
