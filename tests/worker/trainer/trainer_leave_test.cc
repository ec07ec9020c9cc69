// RunTrainer: the end of a worker: what comes late, or is not answered at once.
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "common/codec.h"
#include "common/run_failure.h"
#include "tests/catch.h"
#include "tests/support/fast_clock.h"
#include "tests/worker/trainer/trainer_bench.h"
#include "worker/trainer/trainer.h"

namespace leeway {
namespace {

// How a worker ends whose first `lost` Leaves do not arrive, and whose lease runs out meanwhile. The run has failed.
absl::Status EndOf(Bench& bench, int lost, bool preempted) {
  bench.options.identity.give_up_after = absl::Seconds(1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.failure = "the loss has diverged";
    bench.fake.script.fail = [&bench, lost, preempted](const std::string&, const std::string& method) -> absl::Status {
      FakeCluster& fake = bench.fake;
      if (preempted && method == "ParameterServer/Push" && fake.pushes.size() == 10) bench.cancellation.Cancel();
      if (fake.calls["Coordinator/Leave"] == 0) return absl::OkStatus();
      if (method == "Coordinator/Heartbeat") return absl::FailedPreconditionError("its lease ran out");
      const bool arrives = method != "Coordinator/Leave" || fake.calls[method] > lost;
      return arrives ? absl::OkStatus() : absl::UnavailableError("the network is down");
    };
  }
  return bench.Run();
}

TEST_CASE("A worker that is cut off when the run ends hears how it has ended, after its lease too") {
  Bench bench(Leased(4), 1);
  const absl::Status status = EndOf(bench, 2, false);
  CHECK(IsRunFailure(status));
  CHECK(status.message() == "the run has failed: the loss has diverged");
}

TEST_CASE("A worker that nobody tells how the run has ended does not say that all went well") {
  Bench bench(Leased(4), 1);
  const absl::Status status = EndOf(bench, 1000, false);
  CHECK(absl::IsUnavailable(status));
  CHECK(status.ToString().find("the network is down") != std::string::npos);
}

TEST_CASE(
    "A Leave that is lost without a word is sent again while there is time, also by a worker that was told to end") {
  for (const bool preempted : {false, true}) {
    Bench bench(Leased(4), 1);
    EndOf(bench, 1, preempted).IgnoreError();
    MutexLock lock(bench.fake.mu);
    CHECK(bench.fake.calls["Coordinator/Leave"] > 1);
    CHECK(bench.fake.timeouts["Coordinator/Leave"] < absl::Seconds(5));
  }
}

TEST_CASE("A worker that was told to end need not hear how the run has ended") {
  Bench bench(Leased(4), 1);
  CHECK(EndOf(bench, 1000, true).ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.calls["Coordinator/Leave"] > 0);
}

// Between the worker and its cluster: the first report is answered only when the last one has come, and that one some
// time after.
class LateReports final : public Transport {
 public:
  explicit LateReports(FakeCluster& fake) : fake_(fake) {}

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    if (method == "Coordinator/ReportProgress") {
      fake_.Call(address, method, request, timeout, [this, done](absl::Status status, Buffer reply) {
        std::vector<std::function<void()>> late;
        {
          MutexLock lock(mu_);
          late_.push_back([done, status, reply] { done(status, reply); });
          if (late_.size() == 2) late = late_;
        }
        if (late.empty()) return;
        late[0]();
        later([this, last = late[1]] {
          {
            MutexLock lock(mu_);
            answered_ = true;
          }
          last();
        });
      });
      return;
    }
    if (method == "Coordinator/Leave") {
      MutexLock lock(mu_);
      left_after_ = answered_;
    }
    fake_.Call(address, method, std::move(request), timeout, std::move(done));
  }
  bool left_after() {
    MutexLock lock(mu_);
    return left_after_;
  }

  std::function<void(std::function<void()>)> later;

 private:
  FakeCluster& fake_;
  Mutex mu_;
  std::vector<std::function<void()>> late_ LEEWAY_GUARDED_BY(mu_);
  bool answered_ LEEWAY_GUARDED_BY(mu_) = false;    // the last report
  bool left_after_ LEEWAY_GUARDED_BY(mu_) = false;  // that
};

TEST_CASE("A worker leaves when its last report has arrived, also where an earlier one is answered late") {
  Bench bench(Leased(4), 1);
  LateReports late(bench.fake);
  Runtime runtime(late, absl::Hours(10), std::make_unique<FastClock>(1000));  // there is a report each millisecond
  late.later = [&](std::function<void()> fn) { runtime.caller.After(absl::Seconds(200), std::move(fn)); };
  REQUIRE(RunTrainer(runtime.caller, *bench.worker.engine, bench.worker.manifest(), bench.worker.data, bench.options,
                     bench.cancellation)
              .ok());
  CHECK(late.left_after());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.reports.size() == 2);
  CHECK(bench.fake.reports[1].progress().samples() == 2 * kRecords);
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.leaves[0].progress().samples() == 2 * kRecords);
}

// Between the worker and its cluster: holds commits, and the second request for data; then the worker is preempted. The
// data come while it waits for its commits.
class LateData final : public Transport {
 public:
  explicit LateData(FakeCluster& fake) : fake_(fake) {}

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    bool preempt = false;
    {
      MutexLock lock(mu_);
      if (method == "ParameterServer/Pull" && given_) ++late_pulls_;
      if (method == "Coordinator/CommitData" && !commits_go_) {
        commits_.push_back(
            [this, address, method, request, timeout, done] { fake_.Call(address, method, request, timeout, done); });
        return;
      }
      v1::AcquireDataRequest acquire;
      if (method == "Coordinator/AcquireData" && DecodeMessage(request, &acquire).ok() && acquire.request() > 1) {
        data_ = done;
        preempt = true;
      }
    }
    if (preempt) return preempted();
    fake_.Call(address, method, std::move(request), timeout, std::move(done));
  }

  // The worker has data again, and goes on at another clock.
  void GiveData() {
    v1::AcquireDataReply reply;
    reply.set_reentered(true);
    reply.set_entry_clock(50);
    reply.mutable_range()->set_end(16);
    ReplyCallback done;
    {
      MutexLock lock(mu_);
      given_ = true;
      done.swap(data_);
    }
    done(absl::OkStatus(), EncodeMessage(reply));
  }
  void LetCommitsGo() {
    std::vector<std::function<void()>> commits;
    {
      MutexLock lock(mu_);
      commits_go_ = true;
      commits.swap(commits_);
    }
    for (const auto& commit : commits) commit();
  }
  int late_pulls() {
    MutexLock lock(mu_);
    return late_pulls_;
  }

  std::function<void()> preempted;

 private:
  FakeCluster& fake_;
  Mutex mu_;
  bool given_ LEEWAY_GUARDED_BY(mu_) = false;
  bool commits_go_ LEEWAY_GUARDED_BY(mu_) = false;
  int late_pulls_ LEEWAY_GUARDED_BY(mu_) = 0;
  ReplyCallback data_ LEEWAY_GUARDED_BY(mu_);
  std::vector<std::function<void()>> commits_ LEEWAY_GUARDED_BY(mu_);
};

// A pull that it begins then would write into the engine's memory when the next session uses it.
TEST_CASE("A worker that ends and hears meanwhile that there is data again begins no pull") {
  Bench bench(Leased(4), 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.ranges.resize(1);
    bench.fake.ranges[0].set_end(16);
  }
  LateData late(bench.fake);
  Runtime runtime(late);
  late.preempted = [&] {
    bench.cancellation.Cancel();
    runtime.caller.After(absl::Milliseconds(100), [&] {
      late.GiveData();
      runtime.caller.After(absl::Milliseconds(100), [&] { late.LetCommitsGo(); });
    });
  };
  REQUIRE(RunTrainer(runtime.caller, *bench.worker.engine, bench.worker.manifest(), bench.worker.data, bench.options,
                     bench.cancellation)
              .ok());
  CHECK(late.late_pulls() == 0);
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.commits.size() == 1);
}

}  // namespace
}  // namespace leeway
