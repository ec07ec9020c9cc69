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
    std::size_t Applied() const {
      return static_cast<std::size_t>(
          std::count_if(chunks.begin(), chunks.end(), [](const Chunk& c) { return c.verdict == v1::APPLIED; }));
    }
  };
  std::uint64_t clock = 0;
  std::map<std::uint64_t, Step> steps;
  std::map<std::uint64_t, v1::Verdict> over;

  v1::Verdict OldVerdict(std::uint64_t step) const {
    const auto it = over.find(step);
    return it != over.end() && clock - step <= PushWindow::kRemembered ? it->second : v1::APPLIED;
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
        break;
      case 2:
      case 3:
        TakeWhole();
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
    const auto it = model_.steps.find(step);
    const bool started = step >= model_.clock && it != model_.steps.end() &&
                         std::any_of(it->second.chunks.begin(), it->second.chunks.end(), [](const Model::Chunk& c) {
                           return c.state == Seen::kApplying || (c.state == Seen::kDone && c.verdict == v1::APPLIED);
                         });
    REQUIRE(window_.Started(step) == started);
    CheckLook(step, static_cast<std::uint32_t>(random_.Below(5)));
  }

  std::size_t applications() const { return fresh_.size(); }
  std::uint64_t clock() const { return model_.clock; }

 private:
  void CheckLook(std::uint64_t step, std::uint32_t chunk) const {
    const Seen seen = window_.Look(step, chunk);
    Model::Chunk expected;
    const auto it = model_.steps.find(step);
    if (step < model_.clock) {
      expected = {Seen::kDone, model_.OldVerdict(step)};
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
    if (step < model_.clock) {
      REQUIRE(seen.ok());
      REQUIRE(seen->state == Seen::kDone);
      REQUIRE(seen->verdict == model_.OldVerdict(step));
      return;
    }
    if (step - model_.clock >= PushWindow::kAhead) {
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
    if (step >= model_.clock) model_.steps[step].chunks[chunk] = {Seen::kDone, verdict};
  }

  void Settle(std::uint64_t step) {
    const v1::Verdict verdict = random_.Chance(0.5) ? v1::REFUSED : v1::APPLIED;
    const absl::Status status = window_.Settle(step, verdict);
    if (step < model_.clock) {
      REQUIRE(status.ok());
    } else if (step - model_.clock >= PushWindow::kAhead) {
      REQUIRE(absl::IsOutOfRange(status));
    } else {
      REQUIRE(status.ok());
      Model::Step& expected = model_.steps[step];
      if (expected.chunks.empty() && !expected.settled) expected.settled = verdict;
      for (Model::Chunk& chunk : expected.chunks) {
        if (chunk.state == Seen::kFresh) chunk = {Seen::kDone, verdict};
      }
    }
  }

  void TakeWhole() {
    for (const PushWindow::Step& step : window_.TakeWhole()) {
      REQUIRE(step.step == model_.clock);
      const Model::Step& expected = model_.steps[model_.clock];
      REQUIRE(expected.Whole());
      const std::size_t applied = expected.Applied();
      REQUIRE(step.any_applied == (applied > 0));
      REQUIRE(step.partial == (applied > 0 && applied < expected.chunks.size()));
      v1::Verdict verdict = v1::APPLIED;
      if (applied == 0) verdict = expected.chunks.empty() ? *expected.settled : expected.chunks.front().verdict;
      REQUIRE(step.verdict == verdict);
      model_.over[model_.clock++] = verdict;
    }
    REQUIRE_FALSE(model_.steps[model_.clock].Whole());
  }

  void Jump() {
    const std::uint64_t to = model_.clock + random_.Below(4) + (random_.Chance(0.2) ? 40 : 0);
    window_.JumpTo(to, v1::DROPPED);
    while (model_.clock < to) model_.over[model_.clock++] = v1::DROPPED;
  }

  Random random_;
  PushWindow window_;
  Model model_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> fresh_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> applying_;
};

TEST_CASE("PushWindow: exactly once under duplicates, disorder, null pushes and jumps") {
  for (std::uint64_t run = 0; run < 20; ++run) {
    Driver driver(TestSeed() + run);
    for (int step = 0; step < 5000; ++step) driver.Step();
    CHECK(driver.clock() > 50);
    CHECK(driver.applications() > 100);
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
  CHECK(window.Begin(7, 0, 2)->verdict == v1::APPLIED);
}

}  // namespace
}  // namespace leeway
