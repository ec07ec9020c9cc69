#include "server/departed_windows.h"

#include <utility>

#include "tests/catch.h"

namespace leeway {
namespace {

using Seen = PushWindow::Seen;

// A window at `clock` with one chunk of that step done, as `verdict`, and one that has not come.
PushWindow Given(std::uint64_t clock, v1::Verdict verdict) {
  PushWindow window(clock);
  REQUIRE(window.Begin(clock, 0, 2).ok());
  window.Finish(clock, 0, verdict);
  return window;
}

TEST_CASE("DepartedWindows: a departed incarnation's chunks are still known, and finish where they belong") {
  DepartedWindows departed;
  PushWindow window = Given(3, v1::APPLIED);
  REQUIRE(window.Begin(3, 1, 2).ok());
  departed.Add(77, 0, std::move(window));
  const PushWindow* known = departed.Find(77);
  REQUIRE(known != nullptr);
  CHECK(known->Look(3, 0).verdict == v1::APPLIED);
  CHECK(known->Look(3, 1).state == Seen::kApplying);
  CHECK(known->Look(4, 0).state == Seen::kFresh);
  departed.Find(77)->Finish(3, 1, v1::APPLIED);
  CHECK(known->Look(3, 1).state == Seen::kDone);
  CHECK(departed.Find(78) == nullptr);
}

TEST_CASE("DepartedWindows: the newest are kept") {
  DepartedWindows departed;
  for (std::uint64_t incarnation = 1; incarnation <= 3 * DepartedWindows::kKept; ++incarnation) {
    departed.Add(incarnation, 0, PushWindow(incarnation));
    std::size_t kept = 0;
    for (std::uint64_t i = 1; i <= incarnation; ++i) {
      const PushWindow* window = departed.Find(i);
      kept += window != nullptr;
      REQUIRE((window != nullptr) == (incarnation - i < DepartedWindows::kKept));
      if (window != nullptr) REQUIRE(window->clock() == i);
    }
    REQUIRE(kept <= DepartedWindows::kKept);
  }
}

TEST_CASE("DepartedWindows: a round's close decides what had been given to it, and no later one") {
  DepartedWindows departed;
  departed.Add(1, 1, Given(5, v1::HELD));  // named by the close
  departed.Add(2, 2, Given(5, v1::HELD));  // not named
  departed.Add(3, 1, PushWindow(5));       // gave nothing, though its rank is named
  departed.Add(4, 4, Given(6, v1::HELD));  // to the next round
  departed.CloseRound(5, {0, 1, 4});
  CHECK(departed.Find(1)->Look(5, 0).verdict == v1::APPLIED);
  CHECK(departed.Find(2)->Look(5, 0).verdict == v1::DROPPED);
  CHECK(departed.Find(3)->Look(5, 0).state == Seen::kFresh);
  CHECK(departed.Find(4)->Look(6, 0).verdict == v1::HELD);
  // Rank 1 has gone to somebody else, whose pushes are not the departed one's.
  departed.CloseRound(6, {1, 4});
  CHECK(departed.Find(1)->Look(6, 0).state == Seen::kFresh);
  CHECK(departed.Find(3)->Look(6, 0).state == Seen::kFresh);
  CHECK(departed.Find(4)->Look(6, 0).verdict == v1::APPLIED);
}

}  // namespace
}  // namespace leeway
