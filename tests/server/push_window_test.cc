#include "server/push_window.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

using Seen = PushWindow::Seen;

// The obvious model: every step ever, every chunk ever.
struct Model {
  struct Chunk {
    Seen::State state = Seen::kFresh;  // kFresh: unseen
    v1::Verdict verdict = v1::VERDICT_NONE;
  };
  struct Step {
    std::vector<Chunk> chunks;  // empty: no chunk has come
    std::optional<v1::Verdict> settled;
    bool Whole() const {
      if (chunks.empty()) return settled.has_value();
      return std::all_of(chunks.begin(), chunks.end(), [](const Chunk& c) { return c.state == Seen::kDone; });
    }
    bool Started() const {
      return std::any_of(chunks.begin(), chunks.end(), [](const Chunk& c) {
        return c.state == Seen::kApplying || (c.state == Seen::kDone && c.verdict == v1::APPLIED);
      });
    }
    std::size_t Applied() const {
      return static_cast<std::size_t>(
          std::count_if(chunks.begin(), chunks.end(), [](const Chunk& c) { return c.verdict == v1::APPLIED; }));
    }
  };
  std::uint64_t clock = 0;
  std::map<std::uint64_t, Step> steps;
  std::set<std::uint64_t> behind;  // below the clock and not over
  std::map<std::uint64_t, v1::Verdict> over;
  std::set<std::uint64_t> completed;  // of those: by their chunks, not by a jump

  bool Open(std::uint64_t step) const { return step >= clock || behind.count(step) > 0; }
  std::size_t NewerGiven(std::uint64_t step) const {
    return static_cast<std::size_t>(std::count_if(over.upper_bound(step), over.end(),
                                                  [](const auto& newer) { return newer.second != v1::DROPPED; }));
  }
  v1::Verdict OldVerdict(std::uint64_t step, std::uint32_t chunk) const {
    if (NewerGiven(step) >= PushWindow::kRemembered) return v1::APPLIED;
    const auto whole = steps.find(step);
    const bool known = completed.count(step) > 0 && over.at(step) != v1::DROPPED && whole != steps.end();
    if (known && chunk < whole->second.chunks.size()) return whole->second.chunks[chunk].verdict;
    return over.at(step);
  }
};

class Driver {
 public:
  explicit Driver(std::uint64_t seed) : random_(seed) {}

  void Step() {
    const std::uint64_t lowest = model_.clock < 20 ? 0 : model_.clock - 20;
    const std::uint64_t step = random_.Between(lowest, model_.clock + 3 + (random_.Chance(0.1) ? 20 : 0));
    switch (random_.Below(20)) {
      case 0:
        Settle(step);
        break;
      case 1:
        if (random_.Chance(0.1)) Jump();
        if (random_.Chance(0.1)) Reenter();
        break;
      case 2:
      case 3:
        TakeWhole();
        if (applying_.empty()) SaveAndRestore();
        break;
      case 4:
      case 5:
      case 6:
      case 7:
        Finish();
        break;
      default:
        Begin(step);
    }
    REQUIRE(window_.clock() == model_.clock);
    REQUIRE(window_.Open(step) == model_.Open(step));
    std::size_t started = 0;
    const std::uint64_t lowest_open = model_.behind.empty() ? model_.clock : *model_.behind.begin();
    for (auto it = model_.steps.lower_bound(lowest_open); it != model_.steps.end(); ++it) {
      started += model_.Open(it->first) && it->second.Started() ? 1 : 0;
    }
    REQUIRE(window_.Started() == started);
    CheckLook(step, static_cast<std::uint32_t>(random_.Below(5)));
  }

  std::size_t applications() const { return fresh_.size(); }
  std::uint64_t clock() const { return model_.clock; }
  std::size_t taken_behind() const { return taken_behind_; }
  std::size_t restored() const { return restored_; }

 private:
  void SaveAndRestore() {
    const v1::WindowState saved = window_.Save();
    absl::StatusOr<PushWindow> restored = PushWindow::Restore(saved);
    REQUIRE(restored.ok());
    CHECK(restored->Save().SerializeAsString() == saved.SerializeAsString());
    window_ = *std::move(restored);
    ++restored_;
  }

  void CheckLook(std::uint64_t step, std::uint32_t chunk) const {
    const Seen seen = window_.Look(step, chunk);
    Model::Chunk expected;
    const auto it = model_.steps.find(step);
    if (!model_.Open(step)) {
      expected = {Seen::kDone, model_.OldVerdict(step, chunk)};
    } else if (it != model_.steps.end()) {
      if (it->second.chunks.empty() && it->second.settled) {
        expected = {Seen::kDone, *it->second.settled};
      } else if (chunk < it->second.chunks.size()) {
        expected = it->second.chunks[chunk];
      }
    }
    REQUIRE(seen.state == expected.state);
    REQUIRE(seen.verdict == expected.verdict);
  }

  void Begin(std::uint64_t step) {
    const auto count = static_cast<std::uint32_t>(1 + Mix64(step) % 4 + (random_.Chance(0.02) ? 1 : 0));
    const auto chunk = static_cast<std::uint32_t>(random_.Below(count + (random_.Chance(0.05) ? 1 : 0)));
    const absl::StatusOr<Seen> seen = window_.Begin(step, chunk, count);
    if (chunk >= count) {
      REQUIRE(absl::IsInvalidArgument(seen.status()));
      return;
    }
    if (!model_.Open(step)) {
      REQUIRE(seen.ok());
      REQUIRE(seen->state == Seen::kDone);
      REQUIRE(seen->verdict == model_.OldVerdict(step, chunk));
      return;
    }
    if (step >= model_.clock + PushWindow::kAhead) {
      REQUIRE(absl::IsOutOfRange(seen.status()));
      return;
    }
    Model::Step& expected = model_.steps[step];
    if (expected.chunks.empty() && expected.settled) {
      REQUIRE(seen.ok());
      REQUIRE(seen->state == Seen::kDone);
      REQUIRE(seen->verdict == *expected.settled);
      return;
    }
    if (expected.chunks.empty()) expected.chunks.resize(count);
    if (expected.chunks.size() != count) {
      REQUIRE(absl::IsInvalidArgument(seen.status()));
      return;
    }
    REQUIRE(seen.ok());
    REQUIRE(seen->state == expected.chunks[chunk].state);
    if (seen->state == Seen::kDone) REQUIRE(seen->verdict == expected.chunks[chunk].verdict);
    if (seen->state == Seen::kFresh) {
      // Exactly once, whatever is repeated.
      REQUIRE(fresh_.insert({step, chunk}).second);
      expected.chunks[chunk].state = Seen::kApplying;
      applying_.push_back({step, chunk});
    }
  }

  void Finish() {
    if (applying_.empty()) return;
    const std::size_t which = random_.Below(applying_.size());
    const auto [step, chunk] = applying_[which];
    applying_.erase(applying_.begin() + static_cast<std::ptrdiff_t>(which));
    const v1::Verdict verdict = random_.Chance(0.8) ? v1::APPLIED : v1::REFUSED;
    window_.Finish(step, chunk, verdict);
    if (model_.Open(step)) model_.steps[step].chunks[chunk] = {Seen::kDone, verdict};
  }

  void Settle(std::uint64_t step) {
    const v1::Verdict verdict = random_.Chance(0.5) ? v1::REFUSED : v1::APPLIED;
    const absl::Status status = window_.Settle(step, verdict);
    if (!model_.Open(step)) {
      REQUIRE(status.ok());
    } else if (step >= model_.clock + PushWindow::kAhead) {
      REQUIRE(absl::IsOutOfRange(status));
    } else {
      REQUIRE(status.ok());
      SettleModel(step, verdict);
    }
  }

  void SettleModel(std::uint64_t step, v1::Verdict verdict) {
    Model::Step& expected = model_.steps[step];
    if (expected.chunks.empty() && !expected.settled) expected.settled = verdict;
    for (Model::Chunk& chunk : expected.chunks) {
      if (chunk.state == Seen::kFresh) chunk = {Seen::kDone, verdict};
    }
  }

  void TakeWhole() {
    for (const PushWindow::Step& step : window_.TakeWhole()) {
      const bool behind = model_.behind.erase(step.step) > 0;
      REQUIRE((behind || step.step == model_.clock));
      const Model::Step& expected = model_.steps[step.step];
      REQUIRE(expected.Whole());
      const std::size_t applied = expected.Applied();
      REQUIRE(step.any_applied == (applied > 0));
      REQUIRE(step.partial == (applied > 0 && applied < expected.chunks.size()));
      v1::Verdict verdict = v1::APPLIED;
      if (applied == 0) verdict = expected.chunks.empty() ? *expected.settled : expected.chunks.front().verdict;
      REQUIRE(step.verdict == verdict);
      model_.over[step.step] = verdict;
      model_.completed.insert(step.step);
      if (!behind) ++model_.clock;
      taken_behind_ += behind ? 1 : 0;
    }
    REQUIRE_FALSE(model_.steps[model_.clock].Whole());
    for (std::uint64_t step : model_.behind) REQUIRE_FALSE(model_.steps[step].Whole());
  }

  void Jump() {
    const std::uint64_t to = model_.clock + random_.Below(4) + (random_.Chance(0.2) ? 40 : 0);
    window_.JumpTo(to, v1::DROPPED);
    while (model_.clock < to) model_.over[model_.clock++] = v1::DROPPED;
  }

  void Reenter() {
    const std::uint64_t to = model_.clock + random_.Below(6) + (random_.Chance(0.2) ? 40 : 0);
    window_.Reenter(to);
    const std::uint64_t from = model_.clock;
    for (; model_.clock < to; ++model_.clock) {
      model_.over[model_.clock] = v1::DROPPED;
      if (model_.clock < from + PushWindow::kAhead) model_.behind.insert(model_.clock);
    }
    auto oldest = model_.behind.begin();
    for (std::size_t count = model_.behind.size(); count > PushWindow::kAhead; --count) {
      SettleModel(*oldest++, v1::DROPPED);
    }
  }

  Random random_;
  PushWindow window_;
  Model model_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> fresh_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> applying_;
  std::size_t taken_behind_ = 0;
  std::size_t restored_ = 0;
};

TEST_CASE("PushWindow: exactly once under duplicates, disorder, null pushes, jumps and re-entries") {
  for (std::uint64_t run = 0; run < 20; ++run) {
    Driver driver(TestSeed() + run);
    for (int step = 0; step < 5000; ++step) driver.Step();
    CHECK(driver.clock() > 50);
    CHECK(driver.applications() > 100);
    CHECK(driver.taken_behind() > 10);
    CHECK(driver.restored() > 10);
  }
}

TEST_CASE("PushWindow: jumps do not forget what was dropped a moment ago") {
  PushWindow window;
  window.JumpTo(1, v1::DROPPED);
  window.JumpTo(2, v1::DROPPED);
  const absl::StatusOr<Seen> seen = window.Begin(0, 0, 1);
  REQUIRE(seen.ok());
  CHECK(seen->state == Seen::kDone);
  CHECK(seen->verdict == v1::DROPPED);
}

TEST_CASE("PushWindow: what was given is known however many steps were jumped over since") {
  PushWindow window(5);
  REQUIRE(window.Begin(5, 0, 1)->state == Seen::kFresh);
  window.JumpTo(6, v1::APPLIED);
  for (std::uint64_t clock = 7; clock < 100; ++clock) window.JumpTo(clock, v1::DROPPED);
  window = *PushWindow::Restore(window.Save());
  CHECK(window.Begin(5, 0, 1)->verdict == v1::APPLIED);
  CHECK(window.Begin(4, 0, 1)->verdict == v1::DROPPED);
  CHECK(window.Begin(6, 0, 1)->verdict == v1::DROPPED);
}

TEST_CASE("PushWindow: a re-entry leaves open what may be under way, and no more") {
  PushWindow window(3);
  REQUIRE(window.Begin(3, 0, 2)->state == Seen::kFresh);
  window.Finish(3, 0, v1::APPLIED);
  window.Reenter(1000);
  CHECK(window.clock() == 1000);
  CHECK(window.Open(3));
  CHECK(window.Open(3 + PushWindow::kAhead - 1));
  CHECK_FALSE(window.Open(3 + PushWindow::kAhead));
  // 3 is half there, 4 comes late; both end behind the clock, which is not moved by it.
  REQUIRE(window.Begin(4, 0, 1)->state == Seen::kFresh);
  window.Finish(4, 0, v1::APPLIED);
  std::vector<PushWindow::Step> whole = window.TakeWhole();
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].step == 4);
  REQUIRE(window.Begin(3, 1, 2)->state == Seen::kFresh);
  // However often it re-enters, at most kAhead steps stay open. What is given up ends with its last chunk.
  for (std::uint64_t clock = 2000; clock < 100000; clock += 1000) {
    window.Reenter(clock);
    whole = window.TakeWhole();
  }
  CHECK(window.Open(3));
  CHECK(window.Started() == 1);
  window.Finish(3, 1, v1::APPLIED);
  whole = window.TakeWhole();
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].step == 3);
  CHECK_FALSE(whole[0].partial);
  std::size_t open = 0;
  for (std::uint64_t step = 0; step < window.clock(); ++step) open += window.Open(step) ? 1 : 0;
  CHECK(open == PushWindow::kAhead);
}

TEST_CASE("PushWindow: before a re-entry, what is open, what of it has begun, and what has come whole") {
  using Steps = std::vector<std::uint64_t>;
  const auto push = [](PushWindow& window, std::uint64_t step, std::uint32_t chunk) {
    REQUIRE(window.Begin(step, chunk, 2)->state == Seen::kFresh);
    window.Finish(step, chunk, v1::APPLIED);
    window.TakeWhole();
  };
  PushWindow window(3);
  for (const std::uint32_t chunk : {0, 1}) push(window, 3, chunk);
  push(window, 4, 1);
  CHECK(window.given().empty());
  CHECK(window.OpenBelow(6) == Steps{4, 5});
  window.Reenter(8);
  window = *PushWindow::Restore(window.Save());
  CHECK(window.OpenBelow(8) == Steps{4, 5, 6, 7});
  CHECK(window.OpenBelow(10) == Steps{4, 5, 6, 7, 8, 9});
  CHECK(window.Begun(4));
  CHECK_FALSE(window.Begun(5));
  CHECK_FALSE(window.Begun(8));
  CHECK(window.given() == std::set<std::uint64_t>{3});
  push(window, 4, 0);
  push(window, 8, 0);
  CHECK(window.Begun(8));
  CHECK(window.OpenBelow(9) == Steps{5, 6, 7, 8});
  CHECK(window.given() == std::set<std::uint64_t>{3, 4});
  // Steps that were never made are not given, however long ago it was.
  window.Reenter(1000);
  CHECK(window.given() == std::set<std::uint64_t>{3, 4});
}

TEST_CASE("PushWindow: what arrives twice while it is applied is applied once") {
  PushWindow window(7);
  REQUIRE(window.Begin(7, 1, 2)->state == Seen::kFresh);
  REQUIRE(window.Begin(7, 1, 2)->state == Seen::kApplying);
  window.Finish(7, 1, v1::APPLIED);
  CHECK(window.TakeWhole().empty());
  REQUIRE(window.Begin(7, 0, 2)->state == Seen::kFresh);
  window.Finish(7, 0, v1::REFUSED);
  const std::vector<PushWindow::Step> whole = window.TakeWhole();
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].partial);
  CHECK(window.clock() == 8);
  CHECK(window.Begin(7, 0, 2)->verdict == v1::REFUSED);
  CHECK(window.Begin(7, 1, 2)->verdict == v1::APPLIED);
}

}  // namespace
}  // namespace leeway
