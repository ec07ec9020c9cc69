#include "cli/report/format.h"

#include <limits>

#include "cli/report/svg_chart.h"
#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("Format: counts, seconds, bytes, shares") {
  CHECK(FormatCount(0) == "0");
  CHECK(FormatCount(999) == "999");
  CHECK(FormatCount(1000) == "1,000");
  CHECK(FormatCount(18446744073709551615u) == "18,446,744,073,709,551,615");
  CHECK(FormatSeconds(0) == "0");
  CHECK(FormatSeconds(12.3e-6) == "12.3 us");
  CHECK(FormatSeconds(0.0123) == "12.3 ms");
  CHECK(FormatSeconds(0.9999) == "1 s");
  CHECK(FormatSeconds(59.96) == "60 s");
  CHECK(FormatSeconds(99.97) == "1 min 40 s");
  CHECK(FormatSeconds(3599.4) == "59 min 59 s");
  CHECK(FormatSeconds(3599.9) == "1 h 00 min");
  CHECK(FormatSeconds(7325) == "2 h 02 min");
  CHECK(FormatSeconds(-2) == "-2 s");
  CHECK(FormatSeconds(std::numeric_limits<double>::quiet_NaN()) == kNothing);
  CHECK(FormatBytes(0) == "0 B");
  CHECK(FormatBytes(1536) == "1.5 KiB");
  CHECK(FormatBytes(1023 * 1024) == "0.999 MiB");
  CHECK(FormatPercent(1, 8) == "12.5 %");
  CHECK(FormatPercent(1, 0) == kNothing);
  CHECK(FormatPercent(std::numeric_limits<double>::infinity(), 1) == kNothing);
  CHECK(FormatFixed(2.345, 1) == "2.3");
  CHECK(FormatShort(1.0 / 3) == "0.3333");
}

TEST_CASE("Format: escaped text has no markup and no control characters") {
  CHECK(EscapeHtml("a<b>&\"'\n\x7f\u00e4") == "a&lt;b&gt;&amp;&quot;&#39;  \u00e4");
}

TEST_CASE("RoundTicks: few round numbers within the range") {
  CHECK(RoundTicks(0, 10, 5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(RoundTicks(-1, 1, 4) == std::vector<double>{-1, -0.5, 0, 0.5, 1});
  for (const auto& [low, high] :
       {std::pair{0.0, 1e-300}, {1e9, 1e9 + 1}, {-3e149, 3e149}, {0.13, 0.92}, {5.0, 123456.0}}) {
    CAPTURE(low, high);
    const std::vector<double> ticks = RoundTicks(low, high, 5);
    CHECK(ticks.size() >= 2);
    CHECK(ticks.size() <= 11);
    for (double tick : ticks) {
      CHECK(tick >= low - (high - low) * 1e-6);
      CHECK(tick <= high + (high - low) * 1e-6);
    }
  }
}

}  // namespace
}  // namespace leeway
