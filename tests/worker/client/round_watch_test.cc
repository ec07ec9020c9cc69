#include "worker/client/round_watch.h"

#include <memory>
#include <optional>
#include <string>

#include "tests/catch.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"
#include "tests/worker/client/fake_cluster.h"

namespace leeway {
namespace {

// A watch of round 7 by shard 1 of two, in virtual time.
struct Watched {
  Watched() {
    {
      MutexLock lock(fake.mu);
      caller.SetShardAddresses({fake.join.shard_addresses().begin(), fake.join.shard_addresses().end()});
      view = std::make_shared<ClusterView>(fake.join, 42, [] {});
      fake.script.fail = [this](const std::string& address, const std::string&) {
        asked_at = address;
        return error;
      };
      fake.script.open_round = [this](const v1::WatchRoundRequest&) { return open; };
    }
    watch = std::make_shared<RoundWatch>(caller, view, 1, 7, [this](std::uint64_t open_round) {
      CHECK_FALSE(heard);
      heard = open_round;
    });
    watch->Start();
    executor.RunAll();
  }
  ~Watched() { caller.Stop(); }
  // What is asked again is asked again at the end of it.
  void Pass(absl::Duration time) {
    clock.Advance(time);
    executor.RunAll();
  }
  void PassLong() {
    for (int i = 0; i < 5; ++i) Pass(absl::Seconds(20));
  }
  std::size_t asked() {
    MutexLock lock(fake.mu);
    return static_cast<std::size_t>(fake.calls["ParameterServer/WatchRound"]);
  }

  absl::Status error;
  std::uint64_t open = 7;
  std::string asked_at;
  std::optional<std::uint64_t> heard;
  FakeCluster fake{100, 2, v1::Policy(), 0};
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller{fake, clock, executor, FakeCluster::kCoordinatorAddress, absl::Minutes(1), 1};
  std::shared_ptr<ClusterView> view;
  std::shared_ptr<RoundWatch> watch;
};

TEST_CASE("RoundWatch: asks one shard until the round has closed, and hears which one is open") {
  Watched w;
  CHECK(w.asked() == 1);
  CHECK(w.asked_at == "shard-1");
  CHECK_FALSE(w.heard);
  w.Pass(absl::Milliseconds(49));
  CHECK(w.asked() == 1);  // it was answered at once: not asked again at once
  w.Pass(absl::Milliseconds(1));
  CHECK(w.asked() == 2);
  w.open = 12;
  w.Pass(absl::Seconds(1));
  CHECK(w.heard == 12u);
  CHECK(w.asked() == 3);
  MutexLock lock(w.fake.mu);
  for (const v1::WatchRoundRequest& request : w.fake.watches) {
    CHECK(request.round() == 7);
    CHECK(request.stamp().incarnation() == 42);
    CHECK(absl::Milliseconds(request.wait_millis()) == Caller::kGateWait);
  }
}

TEST_CASE("RoundWatch: a stopped one asks no more and says nothing") {
  Watched w;
  w.watch->Stop();
  w.open = 8;
  w.PassLong();
  CHECK(w.asked() == 1);
  CHECK_FALSE(w.heard);
}

TEST_CASE("RoundWatch: a shard that cannot be reached is asked again, for as long as it is wanted") {
  Watched w;
  w.error = absl::UnavailableError("gone");
  w.Pass(absl::Milliseconds(50));
  w.Pass(absl::Seconds(2));
  const std::size_t tried = w.asked();
  CHECK(tried > 2);
  w.error = absl::OkStatus();
  w.open = 8;
  SECTION("it comes back") {
    w.PassLong();
    CHECK(w.heard == 8u);
  }
  SECTION("the step has ended") {
    w.watch->Stop();
    w.error = absl::UnavailableError("gone");
    w.PassLong();
    CHECK(w.asked() <= tried + 1);
    CHECK_FALSE(w.heard);
  }
}

TEST_CASE("RoundWatch: an error, as of a shard that does not know the method, ends it") {
  Watched w;
  w.error = absl::UnimplementedError("no method");
  w.PassLong();
  CHECK(w.asked() == 2);
  CHECK_FALSE(w.heard);
  CHECK(w.view->expired().ok());
}

TEST_CASE("RoundWatch: what it hears of the worker's own state, the view knows") {
  Watched w;
  SECTION("the lease has run out") {
    w.error = absl::FailedPreconditionError("no member");
    w.PassLong();
    CHECK_FALSE(w.view->expired().ok());
  }
  SECTION("the run is ending") {
    {
      MutexLock lock(w.fake.mu);
      w.fake.state = v1::FINISHING;
    }
    w.PassLong();
    CHECK(w.view->state() == v1::FINISHING);
  }
  CHECK(w.asked() == 2);
  CHECK_FALSE(w.heard);
}

}  // namespace
}  // namespace leeway
