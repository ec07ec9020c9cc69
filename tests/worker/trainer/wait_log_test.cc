#include "worker/trainer/wait_log.h"

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "server/coordinator/wait_board.h"
#include "tests/catch.h"

namespace leeway {
namespace {

constexpr Instant kStart{1'000'000'000};

Instant At(int millis) { return kStart + absl::Milliseconds(millis); }

v1::Wait Of(v1::WaitKind kind, std::uint32_t shard, const std::vector<std::uint32_t>& workers = {}) {
  v1::Wait wait;
  wait.set_kind(kind);
  wait.set_shard(shard);
  for (const std::uint32_t worker : workers) wait.add_workers(worker);
  return wait;
}

TEST_CASE("Totals: by kind and shard, at gates by worker, in equal parts") {
  WaitLog log;
  log.Add(At(0), At(10), Of(v1::WAIT_PULL, 0));
  log.Add(At(20), At(25), Of(v1::WAIT_PULL, 0));
  log.Add(At(30), At(31), Of(v1::WAIT_PULL, 1));
  log.Add(At(40), At(60), Of(v1::WAIT_GATE, 1, {4, 7}));
  log.Add(At(60), At(70), Of(v1::WAIT_GATE, 0, {7}));
  log.Add(At(70), At(70), Of(v1::WAIT_DATA, 0));  // no time
  log.Add(At(71), At(70), Of(v1::WAIT_DATA, 0));
  v1::Progress progress;
  log.AddTotals(&progress);
  REQUIRE(progress.waits_size() == 4);
  double sum = 0;
  for (const v1::WaitTotal& wait : progress.waits()) {
    sum += wait.seconds();
    if (wait.kind() == v1::WAIT_GATE) {
      CHECK_FALSE(wait.has_shard());
      CHECK(wait.seconds() == Approx(wait.worker() == 7 ? 0.020 : 0.010));
      CHECK(wait.count() == (wait.worker() == 7 ? 2u : 1u));
    } else {
      CHECK_FALSE(wait.has_worker());
      CHECK(wait.seconds() == Approx(wait.shard() == 0 ? 0.015 : 0.001));
    }
  }
  CHECK(sum == Approx(0.046));  // no second is lost or counted twice
}

TEST_CASE("Single waits are told once, by the worker's clock, numbered") {
  WaitLog log;
  log.Add(At(0), At(10), Of(v1::WAIT_PULL, 3));
  log.Add(At(20), At(20) + absl::Microseconds(199), Of(v1::WAIT_PULL, 3));  // too short for a picture
  log.Add(At(30), At(35), Of(v1::WAIT_GATE, 1, {4, 7}));
  v1::ReportProgressRequest first;
  log.Take(At(100), &first);
  CHECK(first.first_wait() == 0);
  CHECK(first.now_micros() == 1'100'000);
  REQUIRE(first.waits_size() == 2);
  CHECK(first.waits(0).begin_micros() == 1'000'000);
  CHECK(first.waits(0).micros() == 10'000);
  CHECK(first.waits(1).begin_micros() == 1'030'000);
  CHECK(first.waits(1).workers_size() == 2);
  log.Add(At(110), At(120), Of(v1::WAIT_PUSH, 0));
  v1::ReportProgressRequest second;
  log.Take(At(200), &second);
  CHECK(second.first_wait() == 2);
  REQUIRE(second.waits_size() == 1);
  CHECK(second.waits(0).kind() == v1::WAIT_PUSH);
}

TEST_CASE("A wait within another one: the picture has each moment once, the totals have both") {
  WaitLog log;
  log.Add(At(10), At(20), Of(v1::WAIT_COMMIT, 0));
  log.Add(At(0), At(30), Of(v1::WAIT_PULL, 0));
  log.Add(At(5), At(15), Of(v1::WAIT_PULL, 0));
  v1::ReportProgressRequest request;
  log.Take(At(40), &request);
  REQUIRE(request.waits_size() == 2);
  CHECK(request.waits(1).begin_micros() == 1'020'000);
  CHECK(request.waits(1).micros() == 10'000);
  v1::Progress progress;
  log.AddTotals(&progress);
  double sum = 0;
  for (const v1::WaitTotal& wait : progress.waits()) sum += wait.seconds();
  CHECK(sum == Approx(0.050));
}

TEST_CASE("Of very many workers the last ones are told together") {
  WaitLog log;
  const auto most = static_cast<std::uint32_t>(WaitLog::kMostWorkers);
  for (std::uint32_t worker = 0; worker < most + 10; ++worker) log.Add(At(0), At(1), Of(v1::WAIT_GATE, 0, {worker}));
  v1::Progress progress;
  log.AddTotals(&progress);
  REQUIRE(progress.waits_size() == static_cast<int>(most) + 1);
  for (const v1::WaitTotal& wait : progress.waits()) CHECK(wait.count() == (wait.has_worker() ? 1u : 10u));
}

TEST_CASE("A single wait for very many workers names as many as the coordinator takes; the totals have all") {
  WaitLog log;
  std::vector<std::uint32_t> workers(100);
  std::iota(workers.begin(), workers.end(), 0);
  log.Add(At(0), At(100), Of(v1::WAIT_GATE, 0, workers));
  v1::Progress progress;
  log.AddTotals(&progress);
  CHECK(progress.waits_size() == 100);
  v1::ReportProgressRequest request;
  log.Take(At(100), &request);
  WaitBoard board;
  board.Add(At(100), 7, 1, request);
  v1::GetStatusRequest want;
  want.set_want_waits(true);
  v1::GetStatusReply reply;
  board.Fill(kStart, want, &reply);
  REQUIRE(reply.waits_size() == 1);
  CHECK(reply.waits(0).wait().workers_size() == WaitBoard::kMostWorkers);
}

TEST_CASE("What nobody takes is bounded, and what is dropped has a number too") {
  WaitLog log;
  const int count = static_cast<int>(WaitLog::kMost) + 5;
  for (int i = 0; i < count; ++i) log.Add(At(i), At(i + 1), Of(v1::WAIT_PULL, 0));
  v1::ReportProgressRequest request;
  log.Take(At(count), &request);
  CHECK(request.waits_size() == static_cast<int>(WaitLog::kMost));
  CHECK(request.first_wait() == 5);
  CHECK(request.waits(0).begin_micros() == 1'005'000);
  v1::Progress progress;
  log.AddTotals(&progress);
  CHECK(progress.waits(0).count() == static_cast<std::uint64_t>(count));
}

}  // namespace
}  // namespace leeway
