#include "worker/trainer/evaluator.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "common/crc32c.h"
#include "common/exit_code.h"
#include "common/files.h"
#include "common/run_failure.h"
#include "tests/catch.h"
#include "tests/support/crash_files.h"
#include "tests/support/temp_directory.h"
#include "tests/worker/client/runtime.h"
#include "tests/worker/trainer/small_worker.h"
#include "worker/exit_code_of.h"
#include "worker/trainer/eval_schedule.h"
#include "worker/trainer/weights_file.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {
namespace {

struct Bench {
  explicit Bench(v1::Aggregation aggregation)
      : worker(90, 16, 1), fake(worker.manifest().elements(), 2, Policy(aggregation), 0), runtime(fake) {
    options.identity.name = "eval";
  }
  static v1::Policy Policy(v1::Aggregation aggregation) {
    v1::Policy policy;
    policy.set_aggregation(aggregation);
    return policy;
  }
  absl::Status Run() {
    return RunEvaluator(runtime.caller, *worker.engine, worker.manifest(), worker.data, *files, options, cancellation);
  }

  SmallWorker worker;
  FakeCluster fake;
  Runtime runtime;
  FileSystem* files = &RealFileSystem();
  EvaluatorOptions options;
  Cancellation cancellation;
};

TEST_CASE("At the end it evaluates the final weights, reports them with their CRC, keeps them, and leaves") {
  const TempDirectory folder;
  Bench bench(v1::EACH);
  bench.options.best_weights = folder / "best";
  bench.options.final_weights = folder / "final";
  std::vector<float> weights(bench.worker.manifest().elements());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i) / 8;
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.weights = weights;
    bench.fake.state = v1::EVALUATING;
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.joins[0].role() == v1::EVALUATOR);
  CHECK(bench.fake.joins[0].data().num_records() == bench.worker.data.num_records());
  CHECK(bench.fake.joins[0].data().fingerprint() == bench.worker.data.fingerprint());
  REQUIRE(bench.fake.reports.size() == 1);
  const v1::Evaluation& evaluation = bench.fake.reports[0].evaluation();
  CHECK(evaluation.final());
  CHECK(evaluation.weights_crc32c() == Crc32c(weights.data(), weights.size() * sizeof(float)));
  CHECK(evaluation.loss() > 0);
  REQUIRE(bench.fake.leaves.size() == 1);
  for (const v1::PullRequest& pull : bench.fake.pulls) CHECK(pull.copy());
  for (const std::string& path : {bench.options.best_weights, bench.options.final_weights}) {
    const auto kept = LoadWeights(RealFileSystem(), path, bench.worker.manifest());
    REQUIRE(kept.ok());
    CHECK(**kept == weights);
  }
}

TEST_CASE("Weights whose loss is no number are not the best ones, nor are they kept as such") {
  const TempDirectory folder;
  Bench bench(v1::EACH);
  bench.options.best_weights = folder / "best";
  const std::vector<float> good(bench.worker.manifest().elements());
  bool kept_bad = false;
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_num_records(100);
    bench.fake.committed = 100;
    bench.fake.weights.assign(good.size(), std::numeric_limits<float>::quiet_NaN());
    bench.fake.script.fail = [&](const std::string&, const std::string& method) {
      if (method == "Coordinator/ReportProgress") {
        kept_bad |= bench.fake.reports.empty() && RealFileSystem().Exists(bench.options.best_weights);
        bench.fake.weights = good;
        bench.fake.state = v1::EVALUATING;
      }
      return absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.reports.size() == 2);
  CHECK(std::isnan(bench.fake.reports[0].evaluation().loss()));
  CHECK_FALSE(kept_bad);
  CHECK(**LoadWeights(RealFileSystem(), bench.options.best_weights, bench.worker.manifest()) == good);
}

TEST_CASE("While training it evaluates by the cluster's samples; the best weights are kept") {
  Bench bench(v1::EACH);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_num_records(100);
    bench.fake.committed = 100;
    bench.fake.script.fail = [&fake = bench.fake](const std::string&, const std::string& method) {
      // After its second evaluation, training ends.
      if (method == "Coordinator/ReportProgress") fake.committed += 100;
      if (fake.reports.size() == 2) fake.state = v1::EVALUATING;
      return absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.reports.size() == 3);
  CHECK_FALSE(bench.fake.reports[0].evaluation().final());
  CHECK(bench.fake.reports[2].evaluation().final());
}

TEST_CASE("Calls that it has tried again are counted, as a trainer's are") {
  Bench bench(v1::EACH);
  WorkerMetrics metrics;
  bench.options.metrics = &metrics;
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
    bench.fake.script.fail = [first = true](const std::string&, const std::string& method) mutable {
      const bool fails = method == "ParameterServer/Pull" && std::exchange(first, false);
      return fails ? absl::UnavailableError("the network is down") : absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  CHECK(absl::StrContains(metrics.Text(), "\nworker_retries_total 1\n"));
}

TEST_CASE("Started again it keeps the run's best weights of before; those of another run give way") {
  const TempDirectory folder;
  const std::string best = folder / "best";
  // A process of its own: evaluates `weights` and ends. Its loss and accuracy.
  const auto evaluate = [](const std::string& path, std::uint64_t run_id, const std::vector<float>& weights) {
    Bench bench(v1::EACH);
    bench.options.best_weights = path;
    {
      MutexLock lock(bench.fake.mu);
      bench.fake.join.set_run_id(run_id);
      bench.fake.weights = weights;
      bench.fake.state = v1::EVALUATING;
    }
    REQUIRE(bench.Run().ok());
    MutexLock lock(bench.fake.mu);
    REQUIRE(bench.fake.reports.size() == 1);
    return bench.fake.reports[0].evaluation();
  };
  const auto kept = [&] { return **LoadWeights(RealFileSystem(), best, SmallWorker(90, 16, 1).manifest()); };

  std::vector<float> better(SmallWorker(90, 16, 1).manifest().elements()), worse = better;
  for (std::size_t i = 0; i < worse.size(); ++i) worse[i] = static_cast<float>(i) / 8;
  if (Better(evaluate("", 7, worse), evaluate("", 7, better))) std::swap(better, worse);
  evaluate(best, 7, better);
  evaluate(best, 7, worse);
  CHECK(kept() == better);
  evaluate(best, 8, worse);
  CHECK(kept() == worse);
  evaluate(best, 8, better);
  CHECK(kept() == better);
  // What is no file of weights says nothing.
  REQUIRE(WriteAtomically(RealFileSystem(), best, "{}").ok());
  evaluate(best, 8, worse);
  CHECK(kept() == worse);
}

TEST_CASE("In rounds it waits for one round to be on every shard, and is not held by one that never comes") {
  Bench bench(v1::ROUND);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_num_records(100);
    bench.fake.committed = 100;
    bench.fake.script.fail = [&fake = bench.fake](const std::string&, const std::string& method) {
      if (method == "ParameterServer/Pull" && fake.pulls.size() == 8) fake.state = v1::EVALUATING;
      return absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.pulls[0].min_version() == 2);
  REQUIRE(bench.fake.reports.size() == 1);
  CHECK(bench.fake.reports[0].evaluation().final());
}

TEST_CASE("When it is no member any more before it has the final weights, it joins again and evaluates them") {
  Bench bench(v1::EACH);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
    bench.fake.script.fail = [&fake = bench.fake](const std::string&, const std::string& method) {
      const bool forgotten = method == "ParameterServer/Pull" && fake.joins.size() == 1;
      return forgotten ? absl::FailedPreconditionError("no member; join again") : absl::OkStatus();
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.joins.size() == 2);
  REQUIRE(bench.fake.reports.size() == 1);
  CHECK(bench.fake.reports[0].evaluation().final());
}

TEST_CASE("When it is no member any more when it reports the final weights, it asks how the run has ended") {
  Bench bench(v1::EACH);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
    bench.fake.script.fail = [&fake = bench.fake](const std::string&, const std::string& method) {
      if (method != "Coordinator/ReportProgress") return absl::OkStatus();
      fake.join.set_state(v1::FINISHED);
      fake.join.set_failure("the loss has diverged");
      return absl::FailedPreconditionError("its lease ran out");
    };
  }
  const absl::Status status = bench.Run();
  CHECK(IsRunFailure(status));
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.joins.size() == 2);
}

TEST_CASE("It hears how the run has ended when it leaves, whoever is a member then") {
  bool member = true;
  Bench bench(v1::EACH);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
    bench.fake.failure = "the loss has diverged";
    bench.fake.script.fail = [&](const std::string&, const std::string& method) -> absl::Status {
      if (bench.fake.calls["Coordinator/Leave"] == 0) return absl::OkStatus();
      if (method == "Coordinator/Heartbeat") {
        member = false;
        return absl::FailedPreconditionError("its lease ran out");
      }
      const bool lost = method == "Coordinator/Leave" && member;
      return lost ? absl::UnavailableError("the network is down") : absl::OkStatus();
    };
  }
  CHECK(IsRunFailure(bench.Run()));
}

TEST_CASE("When nobody says how the run has ended, it does not say that all went well") {
  Bench bench(v1::EACH);
  bench.options.identity.give_up_after = absl::Seconds(1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
    bench.fake.script.fail = [&fake = bench.fake](const std::string&, const std::string&) {
      return fake.calls["Coordinator/Leave"] > 0 ? absl::UnavailableError("the network is down") : absl::OkStatus();
    };
  }
  CHECK(ExitCodeOf(bench.Run()) == kExitClusterLost);
}

TEST_CASE("Preempted before it has the final weights, it does not say that it has evaluated them") {
  Bench bench(v1::EACH);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
    bench.fake.script.gate = [](const v1::PullRequest&) { return false; };
  }
  bench.runtime.caller.After(absl::Milliseconds(300), [&] { bench.cancellation.Cancel(); });
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.reports.empty());
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.leaves[0].reason() == "preempted");
}

TEST_CASE("Preempted while nobody takes its report, it leaves without it") {
  Bench bench(v1::EACH);
  bench.options.identity.give_up_after = absl::Seconds(25);  // longer than it may take to leave
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
    bench.fake.script.fail = [](const std::string&, const std::string& method) {
      return method == "Coordinator/ReportProgress" ? absl::UnavailableError("the disk is full") : absl::OkStatus();
    };
  }
  bench.runtime.caller.After(absl::Milliseconds(300), [&] { bench.cancellation.Cancel(); });
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.leaves.size() == 1);
}

TEST_CASE("A disk without room for the weights is worth another start: there may be room then") {
  CrashFiles files(1);
  files.FailAppends(absl::ResourceExhaustedError("write final.tmp: No space left on device"));
  Bench bench(v1::EACH);
  bench.files = &files;
  bench.options.final_weights = "final";
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.state = v1::EVALUATING;
  }
  const absl::Status status = bench.Run();
  CHECK(status.message() == "write final.tmp: No space left on device");
  CHECK(ExitCodeOf(status) == kExitClusterLost);
}

TEST_CASE("Preempted, it leaves") {
  Bench bench(v1::EACH);
  bench.runtime.caller.After(absl::Milliseconds(100), [&] { bench.cancellation.Cancel(); });
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.reports.empty());
}

}  // namespace
}  // namespace leeway
