#include "worker/client/coordinator_client.h"

#include <functional>
#include <future>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"
#include "tests/worker/client/runtime.h"
#include "worker/client/join.h"

namespace leeway {
namespace {

TEST_CASE("Joining asks again, with the same incarnation, while the answer is not_yet") {
  FakeCluster fake(1000, 2, v1::Policy(), 0);
  Runtime runtime(fake);
  {
    MutexLock lock(fake.mu);
    fake.join.mutable_not_yet()->set_reason("worker 1 is missing");
    fake.script.fail = [&fake, asked = 0](const std::string&, const std::string&) mutable {
      if (++asked == 3) fake.join.clear_not_yet();
      return absl::OkStatus();
    };
  }
  Cancellation cancellation;
  v1::JoinRequest request;
  request.set_incarnation(9);
  const absl::StatusOr<v1::JoinReply> reply = JoinCluster(runtime.caller, request, absl::Seconds(10), cancellation);
  REQUIRE(reply.ok());
  CHECK(reply->worker_id() == 5);
  MutexLock lock(fake.mu);
  CHECK(fake.joins.size() == 3);
  for (const v1::JoinRequest& join : fake.joins) CHECK(join.incarnation() == 9);
}

TEST_CASE("Joining gives up after its patience, naming the reason") {
  FakeCluster fake(1000, 2, v1::Policy(), 0);
  Runtime runtime(fake);
  {
    MutexLock lock(fake.mu);
    fake.join.mutable_not_yet()->set_reason("shard 1 is missing");
  }
  Cancellation cancellation;
  const auto reply = JoinCluster(runtime.caller, v1::JoinRequest(), absl::Milliseconds(300), cancellation);
  CHECK(absl::IsDeadlineExceeded(reply.status()));
  CHECK(reply.status().ToString().find("shard 1 is missing") != std::string::npos);
}

TEST_CASE("A cancellation ends joining") {
  FakeCluster fake(1000, 2, v1::Policy(), 0);
  Runtime runtime(fake);
  {
    MutexLock lock(fake.mu);
    fake.join.mutable_not_yet()->set_reason("nobody is there");
  }
  Cancellation cancellation;
  runtime.caller.After(absl::Milliseconds(50), [&] { cancellation.Cancel(); });
  CHECK(absl::IsCancelled(JoinCluster(runtime.caller, v1::JoinRequest(), absl::Minutes(5), cancellation).status()));
}

TEST_CASE("Heartbeats bring the state of the run, and the end of the membership") {
  FakeCluster fake(1000, 2, v1::Policy(), 0);
  Runtime runtime(fake);
  std::promise<void> finishing, expired;
  std::shared_ptr<ClusterView> view;
  bool seen_finishing = false;
  bool seen_expired = false;
  v1::JoinReply join;
  {
    MutexLock lock(fake.mu);
    join = fake.join;
  }
  Mutex mu;
  view = std::make_shared<ClusterView>(join, 42, [&] {
    MutexLock lock(mu);
    if (view->state() == v1::FINISHING && !std::exchange(seen_finishing, true)) finishing.set_value();
    if (!view->expired().ok() && !std::exchange(seen_expired, true)) expired.set_value();
  });
  auto coordinator = std::make_shared<CoordinatorClient>(runtime.caller, view, [] { return std::uint64_t{3}; });
  coordinator->StartHeartbeat(absl::Milliseconds(50));
  {
    MutexLock lock(fake.mu);
    fake.state = v1::FINISHING;
  }
  finishing.get_future().wait();
  {
    MutexLock lock(fake.mu);
    fake.expired.insert(42);
  }
  expired.get_future().wait();
  CHECK(absl::IsFailedPrecondition(view->expired()));
  coordinator->Stop();
}

TEST_CASE("Heartbeats say what the worker waits for, until it waits no more, and are numbered") {
  FakeCluster fake(1000, 2, v1::Policy(), 0);
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller(fake, clock, executor, FakeCluster::kCoordinatorAddress, absl::Seconds(5), 1);
  v1::JoinReply join;
  {
    MutexLock lock(fake.mu);
    join = fake.join;
  }
  const auto view = std::make_shared<ClusterView>(join, 42, [] {});
  auto coordinator = std::make_shared<CoordinatorClient>(caller, view, [] { return std::uint64_t{3}; });
  v1::WaitUnderWay wait;
  wait.set_kind(v1::WAIT_PULL);
  wait.set_shard(1);
  coordinator->StartHeartbeat(absl::Seconds(3));
  for (const std::vector<v1::WaitUnderWay>& waits : {std::vector{wait}, std::vector<v1::WaitUnderWay>()}) {
    coordinator->SetWaits(waits);
    clock.Advance(absl::Seconds(1));
    executor.RunAll();
  }
  coordinator->Stop();
  caller.Stop();
  MutexLock lock(fake.mu);
  REQUIRE(fake.heartbeats.size() == 3);
  CHECK(fake.heartbeats[0].waits().empty());
  REQUIRE(fake.heartbeats[1].waits_size() == 1);
  CHECK(fake.heartbeats[1].waits(0).shard() == 1);
  CHECK(fake.heartbeats[2].waits().empty());
  for (std::size_t i = 0; i < 3; ++i) CHECK(fake.heartbeats[i].number() == i + 1);
}

// Answers heartbeats when it is told to, the n-th with an address book of version n; notes who is called for the rest.
class Slow : public Transport {
 public:
  void Call(const std::string& address, const std::string& method, Buffer, absl::Duration,
            ReplyCallback done) override {
    MutexLock lock(mu);
    if (method != "Coordinator/Heartbeat") {
      called = address;
      return done(absl::InvalidArgumentError("noted"), {});
    }
    v1::HeartbeatReply reply;
    reply.set_address_book_version(static_cast<std::uint32_t>(++heartbeats));
    reply.add_shard_addresses(absl::StrCat("book-", heartbeats));
    held.push_back([done, answer = EncodeMessage(reply)] { done(absl::OkStatus(), answer); });
  }
  std::size_t Heartbeats() {
    MutexLock lock(mu);
    return heartbeats;
  }

  Mutex mu;
  std::size_t heartbeats LEEWAY_GUARDED_BY(mu) = 0;
  std::vector<std::function<void()>> held LEEWAY_GUARDED_BY(mu);
  std::string called LEEWAY_GUARDED_BY(mu);
};

TEST_CASE("Heartbeats go on while none is answered, but not without limit; an older answer tells nothing") {
  Slow slow;
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller(slow, clock, executor, FakeCluster::kCoordinatorAddress, absl::Seconds(5), 1);
  const auto lease_passes = [&] {
    for (int i = 0; i < 30; ++i) {
      clock.Advance(absl::Milliseconds(100));
      executor.RunAll();
    }
  };
  v1::JoinReply join;
  join.set_address_book_version(1);
  int updates = 0;
  const auto view = std::make_shared<ClusterView>(join, 42, [&] { ++updates; });
  auto coordinator = std::make_shared<CoordinatorClient>(caller, view, [] { return std::uint64_t{3}; });
  coordinator->StartHeartbeat(absl::Seconds(3));
  for (int i = 0; i < 3; ++i) lease_passes();
  CHECK(slow.Heartbeats() == 8);
  lease_passes();
  REQUIRE(slow.Heartbeats() == 8);
  std::vector<std::function<void()>> held;
  {
    MutexLock lock(slow.mu);
    held.swap(slow.held);
  }
  held[2]();
  executor.RunAll();
  CHECK(updates == 1);
  held[0]();
  held[1]();
  lease_passes();
  CHECK(slow.Heartbeats() == 11);  // all three were heard
  coordinator->Stop();
  caller.Call<v1::PullReply>(0, "ParameterServer/Pull", v1::PullRequest(), {}, [](absl::Status, const auto&) {});
  executor.RunAll();
  {
    MutexLock lock(slow.mu);
    CHECK(slow.called == "book-3");
  }
  caller.Stop();
}

// Answers each call, if it waits so long, `after` it came.
class Late : public Transport {
 public:
  Late(Clock& clock, absl::Duration after) : clock_(clock), after_(after) {}
  void Call(const std::string&, const std::string&, Buffer, absl::Duration timeout, ReplyCallback done) override {
    came.push_back(clock_.Now());
    clock_.RunAt(clock_.Now() + std::min(after_, timeout), [this, timeout, done = std::move(done)] {
      const bool late = timeout < after_;
      done(late ? absl::DeadlineExceededError("late") : absl::OkStatus(), EncodeMessage(v1::HeartbeatReply()));
    });
  }
  std::vector<Instant> came;

 private:
  Clock& clock_;
  const absl::Duration after_;
};

// A far link; or the coordinator's disk hangs: it hears of everybody, and can answer late, or nobody.
TEST_CASE("Heartbeats that are answered late, or never, keep coming within the lease; what is answered is heard") {
  const absl::Duration lease = absl::Seconds(GENERATE(0.5, 2, 5, 10, 60));
  const absl::Duration news = GENERATE(absl::InfiniteDuration(), absl::Milliseconds(1500));
  const absl::Duration after = GENERATE(0.1, 0.6, 1.8, 1000) * lease;
  // Of those that nobody answers repetitions keep their distance, which may be more than so short a lease.
  if (lease < absl::Seconds(2) && after > absl::Seconds(20)) return;
  FakeClock clock;
  Late late(clock, after);
  PumpedExecutor executor;
  Caller caller(late, clock, executor, FakeCluster::kCoordinatorAddress, absl::InfiniteDuration(), 1);
  int updates = 0;
  const auto view = std::make_shared<ClusterView>(v1::JoinReply(), 42, [&updates] { ++updates; });
  auto coordinator = std::make_shared<CoordinatorClient>(caller, view, [] { return std::uint64_t{3}; });
  coordinator->StartHeartbeat(lease, news);
  for (int i = 0; i < 4000; ++i) {
    clock.Advance(absl::Milliseconds(50));
    executor.RunAll();
  }
  late.came.push_back(clock.Now());
  INFO("lease " << lease << ", news " << news << ", answers after " << after);
  for (std::size_t i = 1; i < late.came.size(); ++i) {
    INFO("heartbeat " << i);
    REQUIRE(late.came[i] - late.came[i - 1] <= 0.9 * lease);
  }
  CHECK((updates > 0) == (after < absl::Seconds(20)));
  coordinator->Stop();
  caller.Stop();
}

TEST_CASE("What a heartbeat of an incarnation that has ended brings late is not heard") {
  Slow slow;
  FakeClock clock;
  PumpedExecutor executor;
  Caller caller(slow, clock, executor, FakeCluster::kCoordinatorAddress, absl::Seconds(5), 1);
  int updates = 0;
  const auto view = std::make_shared<ClusterView>(v1::JoinReply(), 42, [&] { ++updates; });
  auto coordinator = std::make_shared<CoordinatorClient>(caller, view, [] { return std::uint64_t{3}; });
  coordinator->StartHeartbeat(absl::Seconds(3));
  coordinator->Stop();
  caller.SetShardAddresses({"of-the-next-join"});
  std::vector<std::function<void()>> held;
  {
    MutexLock lock(slow.mu);
    held.swap(slow.held);
  }
  REQUIRE(held.size() == 1);
  held[0]();
  executor.RunAll();
  CHECK(updates == 0);
  caller.Call<v1::PullReply>(0, "ParameterServer/Pull", v1::PullRequest(), {}, [](absl::Status, const auto&) {});
  executor.RunAll();
  {
    MutexLock lock(slow.mu);
    CHECK(slow.called == "of-the-next-join");
  }
  caller.Stop();
}

}  // namespace
}  // namespace leeway
