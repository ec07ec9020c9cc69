#include "worker/client/link_load.h"

#include <algorithm>
#include <string>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

constexpr absl::Duration kMost = absl::Seconds(20);

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

// So many messages under way at once, of the eight that a push would send; what has been carried of each.
class Worker {
 public:
  explicit Worker(bool limited) : limited_(limited) {}

  void Start() {
    while (under_way_.size() < 8) {
      if (limited_ && !load_.Take([] {})) return;
      under_way_.push_back({now_, 0});
    }
  }

  // The link gives each of them its share of `bytes`.
  void Step(double seconds, double bytes, double message) {
    now_ += seconds;
    const double share = bytes / static_cast<double>(under_way_.size());
    for (Message& one : under_way_) one.carried += share;
    const auto ended = [&](const Message& one) {
      const bool whole = one.carried >= message;
      if (!whole && At(now_) - At(one.began) < kMost) return false;
      done_ += whole ? 1 : 0;
      if (limited_) {
        load_.Ended(At(one.began), At(now_), kMost, whole ? absl::OkStatus() : absl::DeadlineExceededError("late"));
      }
      return true;
    };
    under_way_.erase(std::remove_if(under_way_.begin(), under_way_.end(), ended), under_way_.end());
  }

  int done() const { return done_; }

 private:
  struct Message {
    double began, carried;
  };
  const bool limited_;
  LinkLoad load_;
  std::vector<Message> under_way_;
  double now_ = 0;
  int done_ = 0;
};

// Of what the link could carry in 20 minutes.
double Share(double megabits, bool limited) {
  constexpr double kMessage = 4 << 20, kSeconds = 1200, kTick = 0.02;
  const double bytes = megabits * 1e6 / 8;
  Worker worker(limited);
  for (double now = 0; now < kSeconds; now += kTick) {
    worker.Start();
    worker.Step(kTick, bytes * kTick, kMessage);
  }
  return worker.done() * kMessage / (bytes * kSeconds);
}

TEST_CASE("Chunks get through a link on which eight at once would all be late, nearly as fast as it carries them") {
  const double megabits = GENERATE(2, 3, 5, 8, 10, 12, 14, 20, 50, 200);
  INFO(megabits << " Mbit/s");
  CHECK(Share(megabits, true) > 0.9);
  // (What the limit is for.)
  if (megabits < 13) CHECK(Share(megabits, false) == 0);
}

TEST_CASE("It begins with two, each quick answer gives room to two; those that were late together count once") {
  LinkLoad load;
  const absl::Status late = absl::DeadlineExceededError("late");
  for (int i = 0; i < 2; ++i) REQUIRE(load.Take([] { FAIL("there is room"); }));
  CHECK_FALSE(load.Take([] {}));
  for (std::size_t answers = 0; answers < 98; ++answers) {
    CHECK(load.limit() == 2 + answers);
    load.Ended(At(0), At(1), kMost, absl::OkStatus());
    for (int i = 0; i < 2; ++i) REQUIRE(load.Take([] { FAIL("there is room"); }));
  }
  // Errors that say nothing of the link.
  load.Ended(At(0), At(19), kMost, absl::UnavailableError("away"));
  CHECK(load.limit() == 100);
  REQUIRE(load.Take([] {}));
  for (int i = 0; i < 100; ++i) load.Ended(At(0), At(20), kMost, late);
  CHECK(load.limit() == 50);
  // One that began after that counts: half of what is under way, but never less than one.
  REQUIRE(load.Take([] {}));
  load.Ended(At(20), At(40), kMost, late);
  CHECK(load.limit() == 1);
  REQUIRE(load.Take([] {}));
  load.Ended(At(40), At(60), kMost, late);
  CHECK(load.limit() == 1);
}

TEST_CASE("Those that wait come in their order once something has ended, and a quick answer makes room for one more") {
  LinkLoad load;
  REQUIRE(load.Take([] {}));
  load.Ended(At(0), At(20), kMost, absl::DeadlineExceededError("late"));
  REQUIRE(load.limit() == 1);
  std::string asked;
  REQUIRE(load.Take([] {}));
  for (const char* name : {"a", "b"}) CHECK_FALSE(load.Take([&asked, name] { asked += name; }));
  // It took more than a small part of its time: two at once might be late.
  for (const LinkLoad::Again& again : load.Ended(At(20), At(24), kMost, absl::OkStatus())) again();
  CHECK(asked == "ab");
  CHECK(load.limit() == 1);
  REQUIRE(load.Take([] {}));
  CHECK_FALSE(load.Take([] {}));
  CHECK(load.Ended(At(30), At(33), kMost, absl::OkStatus()).size() == 1);
  CHECK(load.limit() == 2);
  REQUIRE(load.Take([] {}));
  REQUIRE(load.Take([] {}));
  CHECK_FALSE(load.Take([] {}));
}

}  // namespace
}  // namespace leeway
