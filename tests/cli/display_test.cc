#include "cli/display.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/run_monitor.h"
#include "cli/terminal.h"
#include "tests/catch.h"

namespace leeway {
namespace {

v1::WorkerStatus* AddWorker(v1::GetStatusReply* status, const std::string& name, std::uint64_t clock) {
  v1::WorkerStatus* worker = status->add_workers();
  worker->set_worker_id(static_cast<std::uint32_t>(status->workers_size()));
  worker->set_name(name);
  worker->set_state("live");
  worker->set_clock(clock);
  worker->set_samples_per_second(1234.5);
  return worker;
}

// 40 % of 5 epochs of 1,000 records, in 60 s.
v1::GetStatusReply Training() {
  v1::GetStatusReply status;
  status.set_state(v1::TRAINING);
  status.set_model("cnn");
  status.set_seconds(60);
  status.set_samples(2000);
  status.set_num_records(1000);
  status.set_total_samples(5000);
  status.mutable_policy()->mutable_stop()->set_epochs(5);
  status.mutable_policy()->set_staleness_bound(4);
  status.add_training()->set_loss(0.31234);
  status.add_evaluations()->set_accuracy(0.9);
  status.add_evaluations()->set_accuracy(0.88);
  v1::Histogram* gap = status.add_shards()->mutable_stats()->mutable_gap();
  gap->add_counts(10);
  gap->set_sum(25);
  v1::Histogram* delay = status.mutable_shards(0)->mutable_stats()->mutable_delay();
  delay->add_counts(10);
  delay->add_counts(30);
  delay->set_sum(30);
  v1::Progress* progress = AddWorker(&status, "worker-0", 1207)->mutable_progress();
  progress->mutable_seconds()->set_compute(30);
  progress->mutable_seconds()->set_blocked(10);
  progress->mutable_seconds()->set_pull(0.1);
  v1::BlockedOn* on = progress->add_blocked_on();
  on->set_worker_id(2);
  on->set_seconds(9);
  AddWorker(&status, "worker-1", 1204)->mutable_progress()->mutable_seconds()->set_compute(40);
  v1::WorkerStatus* evaluator = AddWorker(&status, "eval", 0);
  evaluator->set_role(v1::EVALUATOR);
  evaluator->set_state("observer");
  return status;
}

TEST_CASE("the block says where the run stands and where each worker's time goes") {
  const std::vector<std::string> lines = RenderBlock(Training(), {}, {100, 24});
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] == "training cnn, epoch 2.00 of 5 [##########--------------] 40 %, 1:00, 1:30 left");
  CHECK(lines[1] == "  loss 0.3123  accuracy 88.00 % (best 90.00 %)  33 samples/s  gap 2.5 (bound 4)  delay 0.8");
  CHECK(lines[2] == "  worker-0  clock   1,207     1,234/s  compute 75 %, blocked 25 % (on worker-1)");
  CHECK(lines[3] == "  worker-1  clock   1,204     1,234/s  compute 100 %");
  CHECK(lines[4] == "  eval      evaluator");
}

TEST_CASE("the block says who waits for whom at this moment") {
  v1::GetStatusReply status = Training();
  v1::WaitUnderWay& wait = *status.mutable_workers(1)->add_waits_under_way();
  wait.set_kind(v1::WAIT_PULL);
  wait.set_shard(1);
  wait.set_address("10.0.0.7:7100");
  wait.set_millis(14'900);
  wait.set_clock(1204);
  status.add_events("61.0 something");
  const std::vector<std::string> lines = RenderBlock(status, {}, {120, 24});
  REQUIRE(lines.size() == 7);
  CHECK(lines[5] == "  waiting: worker-1 for ps 1 at 10.0.0.7:7100, 14 s: weights on their way, Pull of step 1204");
  CHECK(lines[6] == "  last event: 61.0 something");
}

TEST_CASE("what a narrow screen has no room for goes to the next line; nothing of it is lost") {
  const std::vector<std::string> lines = RenderBlock(Training(), {}, {80, 24});
  REQUIRE(lines.size() == 6);
  CHECK(lines[1] == "  loss 0.3123  accuracy 88.00 % (best 90.00 %)  33 samples/s  gap 2.5 (bound 4)");
  CHECK(lines[2] == "  delay 0.8");
}

TEST_CASE("while all wait for somebody, the block and the line say for whom") {
  v1::GetStatusReply status = Training();
  status.set_waiting_for("ps 1 is not there");
  CHECK(RenderBlock(status, {}, {100, 24})[1] == "  waiting: ps 1 is not there");
  CHECK(absl::StartsWith(RenderLine(status, {}), "1:00  epoch 2.00 of 5  waiting: ps 1 is not there  loss "));
  status.set_state(v1::EVALUATING);
  CHECK(RenderLine(status, {}) == "evaluating the final weights; waiting: ps 1 is not there");
}

TEST_CASE("who waits for its own push is not blocked on somebody else") {
  v1::GetStatusReply status = Training();
  status.mutable_workers(0)->mutable_progress()->mutable_blocked_on(0)->set_worker_id(1);
  CHECK(absl::EndsWith(RenderBlock(status, {}, {100, 24})[2], "blocked 25 % (on its own push)"));
}

TEST_CASE("shares, delay and the time left are those since the status before") {
  const v1::GetStatusReply before = Training();
  v1::GetStatusReply now = before;
  now.set_seconds(70);
  now.set_samples(3000);  // 20 % in 10 s: the other 40 % take 20 s
  now.mutable_workers(0)->mutable_progress()->mutable_seconds()->set_data(5);
  now.mutable_shards(0)->mutable_stats()->mutable_delay()->set_counts(1, 40);
  now.mutable_shards(0)->mutable_stats()->mutable_delay()->set_sum(60);
  const std::vector<std::string> lines = RenderBlock(now, before, {100, 24});
  CHECK(absl::EndsWith(lines[0], "1:10, 0:20 left"));
  CHECK(absl::EndsWith(lines[1], "  100 samples/s  delay 3.0"));
  CHECK(absl::EndsWith(lines[2], "/s  data 100 %"));
  // A new incarnation counts from zero again.
  now.mutable_workers(0)->mutable_progress()->mutable_seconds()->set_compute(2);
  CHECK(absl::StrContains(RenderBlock(now, before, {100, 24})[2], "compute 29 %"));
}

TEST_CASE("no line is wider than the screen, no block higher, whatever the status holds") {
  v1::GetStatusReply status = Training();
  status.set_model("a\x1b[2J\nb\xff");
  status.mutable_workers(0)->set_name(std::string(300, 'w').append("\x1b]0;x"));
  status.mutable_workers(1)->set_state("\x1b[31m");
  status.mutable_workers(1)->set_reason(std::string(500, '\t'));
  status.set_samples(UINT64_MAX);
  status.mutable_training(0)->set_loss(std::numeric_limits<double>::infinity());
  status.mutable_workers(0)->mutable_progress()->mutable_seconds()->set_pull(-1e308);
  status.add_events("12 \x1b[1m gone");
  for (int i = 0; i < 100; ++i) AddWorker(&status, absl::StrCat("w", i), UINT64_MAX);
  for (const double seconds : {0.0, -5.0, 1e300, std::nan("")}) {
    status.set_seconds(seconds);
    for (int columns = -1; columns <= 130; ++columns) {
      for (const int rows : {-1, 1, 2, 10, 200}) {
        const std::vector<std::string> lines = RenderBlock(status, Training(), {columns, rows});
        bool fits = lines.size() <= static_cast<std::size_t>(std::max(rows, 1));
        for (const std::string& line : lines) {
          fits &= line.size() <= static_cast<std::size_t>(std::max(columns, 1));
          for (const char c : line) fits &= c >= ' ' && c <= '~';
        }
        INFO(seconds << " s, " << columns << " x " << rows);
        REQUIRE(fits);
      }
    }
  }
  CHECK(RenderBlock(status, {}, {80, 10}).back() == "  ... and 98 more");
}

TEST_CASE("every state has its words, also before anything is known") {
  CHECK(RenderBlock({}, {}, {80, 24}) == std::vector<std::string>{"starting"});
  v1::GetStatusReply status;
  status.set_waiting_for("1 of 2 workers have come");
  CHECK(RenderLine(status, {}) == "starting: 1 of 2 workers have come");
  status.set_state(v1::FINISHED);
  status.set_stop_reason("5 epochs");
  CHECK(RenderLine(status, {}) == "finished: 5 epochs");
  status.set_state(static_cast<v1::RunState>(99));
  CHECK(RenderLine(status, {}) == "state 99");
}

TEST_CASE("the line for pipes sums the trainers' time") {
  CHECK(RenderLine(Training(), {}) ==
        "1:00  epoch 2.00 of 5  loss 0.3123  accuracy 88.00 % (best 90.00 %)  33 samples/s  gap 2.5 (bound 4)"
        "  delay 0.8  compute 87 %, blocked 12 %  1:30 left");
}

TEST_CASE("a limit of the delay stands beside it") {
  v1::GetStatusReply status = Training();
  status.set_delay_limit(31);
  CHECK(RenderLine(status, {}).find("  delay 0.8 (limit 31)  ") != std::string::npos);
}

TEST_CASE("a push that is refused by every shard is one push") {
  v1::GetStatusReply status = Training();
  status.mutable_shards(0)->mutable_stats()->set_pushes_refused(7);
  status.add_shards()->mutable_stats()->set_pushes_refused(8);
  status.mutable_shards(1)->mutable_stats()->set_pushes_partial(1);
  CHECK_THAT(RenderLine(status, {}), Catch::Contains("  refused 8  partial 1"));
}

TEST_CASE("the nearest limit is the one that counts") {
  v1::GetStatusReply status = Training();
  CHECK(FractionDone(status) == Approx(0.4));
  status.mutable_policy()->mutable_stop()->set_steps(100);
  status.set_steps(70);
  CHECK(FractionDone(status) == Approx(0.7));
  status.mutable_policy()->mutable_stop()->set_minutes(1.25);
  CHECK(FractionDone(status) == Approx(0.8));
  status.set_steps(1000);
  CHECK(FractionDone(status) == 1);
  CHECK(FractionDone({}) == 0);
}

TEST_CASE("redrawing goes up by the rows that the old block takes on the screen of now") {
  CHECK(Redraw({}, {}, {"a", "b"}, 80) == "a\x1b[K\nb\x1b[K\n\x1b[J");
  CHECK(Redraw({"a", "b"}, {"news"}, {"c"}, 80) == "\r\x1b[2Anews\x1b[K\nc\x1b[K\n\x1b[J");
  CHECK(absl::StartsWith(Redraw({"0123456789", ""}, {}, {}, 4), "\r\x1b[4A"));
  // A lasting line may quote a log.
  CHECK(Redraw({"c"}, {"news:\n  of\n"}, {}, 80) == "\r\x1b[1Anews:\x1b[K\n  of\x1b[K\n\x1b[K\n\x1b[J");
}

TEST_CASE("the monitor does not compare over less than two seconds: workers report once in one") {
  RunMonitor monitor;
  const absl::Time start = absl::UnixEpoch() + absl::Hours(1);
  v1::GetStatusReply status;
  for (const double seconds : {30.0, 30.1, 31.1, 31.9}) {
    status.set_seconds(seconds);
    monitor.Observe(status, start + absl::Seconds(seconds));
    CHECK(monitor.before().seconds() == 0);  // over the whole run
  }
  status.set_seconds(32.1);
  monitor.Observe(status, start + absl::Seconds(32.1));
  CHECK(monitor.before().seconds() == 30);
}

TEST_CASE("the monitor compares with a status of some seconds ago and knows when all is known") {
  RunMonitor monitor;
  const absl::Time start = absl::UnixEpoch() + absl::Hours(1);
  CHECK_FALSE(monitor.observed());
  CHECK_FALSE(monitor.complete(start));
  v1::GetStatusReply status;
  status.set_state(v1::TRAINING);
  for (int i = 0; i <= 40; ++i) {
    status.set_seconds(i * 0.25);
    monitor.Observe(status, start + absl::Seconds(i * 0.25));
  }
  CHECK(monitor.now().seconds() == 10);
  CHECK(monitor.before().seconds() == 5);
  CHECK_FALSE(monitor.ending());
  status.set_state(v1::FINISHED);
  monitor.Observe(status, start + absl::Seconds(11));
  CHECK(monitor.ending());
  CHECK_FALSE(monitor.complete(start + absl::Seconds(11)));
  monitor.Observe(status, start + absl::Seconds(12));
  CHECK(monitor.complete(start + absl::Seconds(12)));
}

}  // namespace
}  // namespace leeway
