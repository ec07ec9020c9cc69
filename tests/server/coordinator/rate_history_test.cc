#include "server/coordinator/rate_history.h"

#include "server/coordinator/recent_rate.h"
#include "tests/catch.h"

namespace leeway {
namespace {

v1::RatePoint Point(double seconds, double samples) {
  v1::RatePoint point;
  point.set_seconds(seconds);
  point.set_samples(samples);
  point.set_push_bytes(samples * 4);
  point.set_pull_bytes(samples * 2);
  return point;
}

Instant At(double seconds) { return Instant{1} + absl::Seconds(seconds); }

TEST_CASE("RateHistory: stays bounded, spans the run, and keeps the mean") {
  RateHistory history;
  for (int tenth = 0; tenth < 100000; ++tenth) history.Observe(Point(tenth * 0.1, tenth % 2 == 0 ? 100 : 300));
  const auto& points = history.points();
  CHECK(points.size() <= RateHistory::kMostPoints);
  CHECK(points.size() >= RateHistory::kMostPoints / 4);
  CHECK(points.back().seconds() > 9900);
  double last = -1;
  for (std::size_t i = 1; i < points.size(); ++i) {
    CHECK(points[i].seconds() > last);
    CHECK(points[i].samples() == Approx(200).margin(15));
    CHECK(points[i].push_bytes() == Approx(4 * points[i].samples()));
    CHECK(points[i].pull_bytes() == Approx(2 * points[i].samples()));
    last = points[i].seconds();
  }
}

TEST_CASE("RateHistory: a point a second at first; time that stands still adds nothing") {
  RateHistory history;
  for (int i = 0; i < 10; ++i) history.Observe(Point(0, 7));
  CHECK(history.points().size() == 1);
  for (int tenth = 1; tenth <= 20; ++tenth) history.Observe(Point(tenth * 0.1, tenth));
  REQUIRE(history.points().size() == 3);
  CHECK(history.points()[1].samples() == Approx(5.5));   // 1 to 10
  CHECK(history.points()[2].samples() == Approx(15.5));  // 11 to 20
}

TEST_CASE("RecentRate: of the last seconds, however often it is told; none after a silence or a new beginning") {
  RecentRate rate;
  CHECK(rate.Get(At(0)) == 0);
  for (int i = 0; i <= 10000; ++i) rate.Observe(At(i * 0.001), static_cast<std::uint64_t>(i));
  CHECK(rate.Get(At(10)) == Approx(1000).epsilon(0.01));
  for (int i = 0; i <= 100; ++i) rate.Observe(At(10 + i * 0.1), 10000);
  CHECK(rate.Get(At(20)) == 0);
  rate.Observe(At(21), 20000);
  CHECK(rate.Get(At(21)) > 0);
  CHECK(rate.Get(At(27)) == 0);
  rate.Observe(At(28), 5);
  CHECK(rate.Get(At(28)) == 0);
  rate.Observe(At(29), 105);
  CHECK(rate.Get(At(29)) == Approx(100));
}

}  // namespace
}  // namespace leeway
