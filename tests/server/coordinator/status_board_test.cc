#include "server/coordinator/status_board.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{1} + absl::Seconds(seconds); }

v1::Member Worker(std::uint32_t id, std::uint64_t incarnation) {
  v1::Member member;
  member.set_worker_id(id);
  member.set_incarnation(incarnation);
  return member;
}

v1::Progress Totals(std::uint64_t samples, double loss_sum) {
  v1::Progress progress;
  progress.set_samples(samples);
  progress.set_steps(samples / 10);
  progress.set_loss_sum(loss_sum);
  return progress;
}

v1::GetStatusReply Filled(const StatusBoard& board, Instant now) {
  v1::GetStatusReply reply;
  board.Fill(now, &reply);
  return reply;
}

v1::Progress WithWait(v1::Progress progress, v1::WaitKind kind, std::uint32_t whom, double seconds) {
  v1::WaitTotal& wait = *progress.add_waits();
  wait.set_kind(kind);
  if (kind == v1::WAIT_GATE) {
    wait.set_worker(whom);
  } else {
    wait.set_shard(whom);
  }
  wait.set_seconds(seconds);
  wait.set_count(1);
  return progress;
}

// Everybody has waited for everybody, under this incarnation and under the one before.
StatusBoard BoardOf(std::uint32_t workers) {
  StatusBoard board;
  board.Start(At(0));
  for (const std::uint64_t incarnation : {1, 2}) {
    for (std::uint32_t worker = 0; worker < workers; ++worker) {
      v1::Progress progress = Totals(10, 1);
      for (std::uint32_t other = 0; other < workers; ++other) {
        progress = WithWait(std::move(progress), v1::WAIT_GATE, other, 0.1 * other);
        v1::BlockedOn& on = *progress.add_blocked_on();
        on.set_worker_id(other);
        on.set_seconds(0.1 * other);
      }
      board.AddProgress(At(static_cast<double>(incarnation)), Worker(worker, incarnation), progress, 10);
    }
  }
  return board;
}

TEST_CASE("StatusBoard: what is saved does not grow with the square of the number of workers") {
  v1::StatusBoardState state;
  BoardOf(500).Save(&state);
  CHECK(state.ByteSizeLong() < 500 * 200);
  StatusBoard restored;
  REQUIRE(restored.Restore(state).ok());
  restored.Start(At(0));
  restored.AddProgress(At(3), Worker(7, 2), WithWait(Totals(20, 1), v1::WAIT_GATE, 1, 5), 20);
  const v1::GetStatusReply reply = Filled(restored, At(4));
  CHECK(reply.workers(7).progress().samples() == 30);  // of both incarnations
  CHECK(reply.workers(7).progress().waits_size() == 1);

  v1::StatusBoardState small;
  BoardOf(20).Save(&small);
  CHECK(small.rows(3).earlier().waits_size() == 20);
  CHECK(small.rows(3).status().progress().blocked_on_size() == 20);
}

TEST_CASE("StatusBoard: waits of all incarnations of a worker are added up, each kind and each other by itself") {
  StatusBoard board;
  board.Start(At(0));
  const v1::Progress first = WithWait(WithWait(Totals(10, 1), v1::WAIT_GATE, 0, 5), v1::WAIT_PULL, 0, 1);
  board.AddProgress(At(1), Worker(3, 1), first, 10);
  board.AddProgress(At(2), Worker(3, 1), first, 10);  // totals: telling them again adds nothing
  const v1::Progress second = WithWait(WithWait(Totals(10, 1), v1::WAIT_PULL, 0, 2), v1::WAIT_GATE, 1, 7);
  board.AddProgress(At(3), Worker(3, 2), second, 20);
  const v1::GetStatusReply reply = Filled(board, At(4));
  REQUIRE(reply.workers_size() == 1);
  const auto& waits = reply.workers(0).progress().waits();
  REQUIRE(waits.size() == 3);
  for (const v1::WaitTotal& wait : waits) {
    if (wait.kind() == v1::WAIT_PULL) {
      CHECK(wait.has_shard());
      CHECK(wait.seconds() == 3);
      CHECK(wait.count() == 2);
    } else {
      REQUIRE(wait.has_worker());
      CHECK(wait.seconds() == (wait.worker() == 0 ? 5 : 7));
      CHECK(wait.count() == 1);
    }
  }
}

TEST_CASE("StatusBoard: points, evaluations and events stay bounded, and the newest are there") {
  StatusBoard board;
  board.Start(At(0));
  std::uint64_t samples = 0;
  for (int i = 0; i < 20000; ++i) {
    samples += 10;
    board.AddProgress(At(i), Worker(0, 1), Totals(samples, static_cast<double>(samples) * 0.5), samples);
    board.AddEvent(At(i), absl::StrCat("event ", i));
    v1::Evaluation evaluation;
    evaluation.set_version(static_cast<std::uint64_t>(i));
    board.AddEvaluation(At(i), evaluation);
  }
  const v1::GetStatusReply reply = Filled(board, At(20000));
  CHECK(reply.training_size() <= static_cast<int>(StatusBoard::kMostPoints));
  CHECK(reply.training_size() >= 250);
  CHECK(reply.evaluations_size() == static_cast<int>(StatusBoard::kMostEvaluations));
  CHECK(reply.evaluations(reply.evaluations_size() - 1).version() == 19999);
  CHECK(reply.events_size() == static_cast<int>(StatusBoard::kMostEvents));
  CHECK(reply.events(99).find("event 19999") != std::string::npos);
  double last = -1;
  for (const v1::LossPoint& point : reply.training()) {
    CHECK(point.seconds() > last);
    CHECK(point.loss() == Approx(0.5));  // a mean, however often the points were thinned
    last = point.seconds();
  }
  CHECK(last > 19000);
}

TEST_CASE("StatusBoard: a new incarnation adds to what its name had done before") {
  StatusBoard board;
  board.Start(At(0));
  board.AddProgress(At(1), Worker(0, 1), Totals(100, 50), 100);
  board.AddProgress(At(2), Worker(0, 1), Totals(200, 90), 200);
  board.AddProgress(At(3), Worker(0, 2), Totals(0, 0), 200);
  board.AddProgress(At(4), Worker(0, 2), Totals(50, 20), 250);
  const v1::GetStatusReply reply = Filled(board, At(4));
  REQUIRE(reply.workers_size() == 1);
  CHECK(reply.workers(0).progress().samples() == 250);
  CHECK(reply.workers(0).progress().loss_sum() == Approx(110));
  CHECK(reply.workers(0).recent_loss() == Approx(20.0 / 50));
}

TEST_CASE("StatusBoard: a lost or repeated or overtaken report does no harm") {
  StatusBoard board;
  board.Start(At(0));
  for (const std::uint64_t samples : {100, 300, 300, 200, 400}) {
    board.AddProgress(At(1 + static_cast<double>(samples) / 100), Worker(3, 1),
                      Totals(samples, static_cast<double>(samples)), samples);
  }
  const v1::GetStatusReply reply = Filled(board, At(5));
  CHECK(reply.workers(0).progress().samples() == 400);
  CHECK(reply.samples_per_second() == Approx(100));
  double weighted = 0;
  for (const v1::LossPoint& point : reply.training()) weighted += point.loss();
  CHECK(weighted == Approx(static_cast<double>(reply.training_size())));
}

TEST_CASE("StatusBoard: who has been silent for 5 seconds has no recent rate") {
  StatusBoard board;
  board.Start(At(0));
  board.AddProgress(At(1), Worker(0, 1), Totals(100, 1), 100);
  board.AddProgress(At(2), Worker(0, 1), Totals(200, 1), 200);
  CHECK(Filled(board, At(3)).samples_per_second() == Approx(100));
  CHECK(Filled(board, At(8)).samples_per_second() == 0);
}

TEST_CASE("StatusBoard: how much a worker waits now, and for whom, follows from its last reports") {
  StatusBoard board;
  board.Start(At(0));
  const auto report = [&board](double at, double blocked, double on_first, double on_second) {
    v1::Progress progress = Totals(static_cast<std::uint64_t>(at * 10), 1);
    progress.mutable_seconds()->set_blocked(blocked);
    for (const auto& [worker, seconds] : {std::pair(7u, on_first), std::pair(9u, on_second)}) {
      v1::BlockedOn& on = *progress.add_blocked_on();
      on.set_worker_id(worker);
      on.set_seconds(seconds);
    }
    board.AddProgress(At(at), Worker(0, 1), progress, 0);
    return Filled(board, At(at)).workers(0);
  };
  report(1, 4, 4, 0);
  const v1::WorkerStatus second = report(3, 5, 4.2, 0.8);
  CHECK(second.waiting_share() == Approx(0.5));
  CHECK(second.waits_for() == 9 + 1);  // in all it waited longer for the other one
  const v1::WorkerStatus third = report(11, 5, 4.2, 0.8);
  CHECK(third.waiting_share() == Approx(0));
  CHECK(third.waits_for() == 0);
}

TEST_CASE("StatusBoard: before the start time stands still; states and clocks are kept by worker") {
  StatusBoard board;
  CHECK(board.Seconds(At(100)) == 0);
  board.SetState(1, "a", v1::TRAINER, 0, "live", "");
  board.SetClock(1, 7);
  board.SetClock(1, 5);
  board.SetClock(2, 9);  // unknown
  board.SetState(1, "a", v1::TRAINER, 0, "expired", "its lease ran out");
  const v1::GetStatusReply reply = Filled(board, At(1));
  REQUIRE(reply.workers_size() == 1);
  CHECK(reply.workers(0).clock() == 7);
  CHECK(reply.workers(0).state() == "expired");
  CHECK(reply.workers(0).reason() == "its lease ran out");
  // Another worker gets the number of one that is forgotten: nothing of that one is its.
  board.AddProgress(At(1), Worker(1, 1), Totals(100, 200), 100);
  board.SetState(1, "b", v1::TRAINER, 0, "joining", "");
  const v1::GetStatusReply next = Filled(board, At(1));
  REQUIRE(next.workers_size() == 1);
  CHECK(next.workers(0).name() == "b");
  CHECK(next.workers(0).clock() == 0);
  CHECK(next.workers(0).progress().samples() == 0);
}

TEST_CASE("Losses are of the samples whose loss is finite, also after a restart") {
  StatusBoard board;
  board.Start(At(0));
  v1::Progress progress = Totals(100, 200);
  progress.set_nonfinite_samples(20);
  board.AddProgress(At(10), Worker(1, 1), progress, 100);
  REQUIRE(Filled(board, At(10)).training_size() == 1);
  CHECK(Filled(board, At(10)).training(0).loss() == Approx(2.5));
  CHECK(Filled(board, At(10)).workers(0).recent_loss() == Approx(2.5));
  // Pending, as a point comes only now and then.
  progress.set_samples(150);
  progress.set_nonfinite_samples(60);
  progress.set_loss_sum(210);
  board.AddProgress(At(10.001), Worker(1, 1), progress, 150);
  CHECK(Filled(board, At(10.001)).workers(0).recent_loss() == Approx(1));
  v1::StatusBoardState state;
  board.Save(&state);
  StatusBoard again;
  again.Start(At(0));
  REQUIRE(again.Restore(state).ok());
  progress.set_samples(160);
  progress.set_loss_sum(250);
  again.AddProgress(At(20), Worker(1, 1), progress, 160);
  REQUIRE(Filled(again, At(20)).training_size() == 2);
  CHECK(Filled(again, At(20)).training(1).loss() == Approx(2.5));
  // All of them: there is no loss.
  progress.set_samples(170);
  progress.set_nonfinite_samples(70);
  again.AddProgress(At(30), Worker(1, 1), progress, 170);
  CHECK(std::isnan(Filled(again, At(30)).training(2).loss()));
  CHECK(Filled(again, At(30)).workers(0).progress().loss_sum() == Approx(250));
}

}  // namespace
}  // namespace leeway
