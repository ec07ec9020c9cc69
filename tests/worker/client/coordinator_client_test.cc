#include "worker/client/coordinator_client.h"

#include <future>

#include "tests/catch.h"
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

}  // namespace
}  // namespace leeway
