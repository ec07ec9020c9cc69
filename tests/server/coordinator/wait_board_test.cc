#include "server/coordinator/wait_board.h"

#include <cstdint>
#include <limits>

#include "tests/catch.h"

namespace leeway {
namespace {

constexpr Instant kStart{5'000'000'000};

Instant At(std::int64_t micros) { return kStart + absl::Microseconds(micros); }

v1::ReportProgressRequest Report(std::uint64_t first, std::int64_t now_micros) {
  v1::ReportProgressRequest report;
  report.set_first_wait(first);
  report.set_now_micros(now_micros);
  return report;
}

void AddWait(v1::ReportProgressRequest* report, std::int64_t begin, std::uint64_t micros) {
  v1::Wait& wait = *report->add_waits();
  wait.set_begin_micros(begin);
  wait.set_micros(micros);
}

v1::GetStatusReply Ask(const WaitBoard& board, std::uint64_t after = 0) {
  v1::GetStatusRequest request;
  request.set_want_waits(true);
  request.set_waits_after(after);
  v1::GetStatusReply reply;
  board.Fill(kStart, request, &reply);
  return reply;
}

TEST_CASE("Waits come onto the coordinator's time line, whatever the worker's clock shows") {
  WaitBoard board;
  // The worker's clock is 900 s behind ours, and the report takes 2 ms.
  v1::ReportProgressRequest report = Report(0, 1'000'000);
  AddWait(&report, 700'000, 100'000);
  board.Add(At(1'002'000), 3, 99, report);
  v1::GetStatusReply reply = Ask(board);
  REQUIRE(reply.waits_size() == 1);
  CHECK(reply.waits(0).worker_id() == 3);
  CHECK(reply.waits(0).wait().begin_micros() == 702'000);  // as if the report had taken no time
  CHECK(reply.waits(0).wait().micros() == 100'000);
  // The next one is quicker, and a third that lay around for a second does not shift its waits.
  report = Report(1, 2'000'000);
  AddWait(&report, 1'500'000, 100'000);
  board.Add(At(2'000'100), 3, 99, report);
  CHECK(Ask(board).waits(1).wait().begin_micros() == 1'500'100);
  report = Report(2, 3'000'000);
  AddWait(&report, 2'500'000, 100'000);
  board.Add(At(4'000'000), 3, 99, report);
  CHECK(Ask(board).waits(2).wait().begin_micros() == 2'500'100);
}

TEST_CASE("A report that comes twice does no harm, and a new incarnation begins anew") {
  WaitBoard board;
  v1::ReportProgressRequest report = Report(0, 1'000'000);
  AddWait(&report, 700'000, 100'000);
  AddWait(&report, 800'000, 100'000);
  board.Add(At(1'000'000), 3, 99, report);
  board.Add(At(1'100'000), 3, 99, report);
  CHECK(Ask(board).waits_size() == 2);
  AddWait(&report, 900'000, 50'000);  // overlaps with what is known
  board.Add(At(1'000'000), 3, 99, report);
  CHECK(Ask(board).waits_size() == 3);
  board.Add(At(1'000'000), 3, 100, report);
  CHECK(Ask(board).waits_size() == 6);
  board.Add(At(1'000'000), 4, 99, report);
  CHECK(Ask(board).waits_size() == 9);
}

TEST_CASE("Whoever watches asks on from where he is; what is gone is counted") {
  WaitBoard board;
  std::uint64_t told = 0;
  const auto tell = [&](std::uint64_t count) {
    v1::ReportProgressRequest report = Report(told, 1'000'000);
    for (std::uint64_t i = 0; i < count; ++i) AddWait(&report, 100'000, told + i + 1);
    board.Add(At(1'000'000), 3, 99, report);
    told += count;
  };
  tell(3);
  v1::GetStatusReply reply = Ask(board);
  CHECK(reply.next_wait() == 3);
  CHECK(Ask(board, reply.next_wait()).waits_size() == 0);
  while (told < WaitBoard::kMost + 1000) tell(1000);
  reply = Ask(board, 3);
  CHECK(reply.waits_size() == static_cast<int>(WaitBoard::kMostPerAnswer));
  CHECK(reply.lost_waits() == told - WaitBoard::kMost - 3);
  CHECK(reply.waits(0).wait().micros() == told - WaitBoard::kMost + 1);
  std::uint64_t seen = 0;
  for (std::uint64_t next = 3; next < told; next = reply.next_wait()) {
    reply = Ask(board, next);
    seen += static_cast<std::uint64_t>(reply.waits_size()) + reply.lost_waits();
  }
  CHECK(seen == told - 3);
  // Of another coordinator, before this one.
  CHECK(Ask(board, told + 1).waits_size() == static_cast<int>(WaitBoard::kMostPerAnswer));
  v1::GetStatusReply unasked;
  board.Fill(kStart, v1::GetStatusRequest(), &unasked);
  CHECK(unasked.waits_size() == 0);
}

TEST_CASE("Nonsense of a hostile worker is ignored, and overflows nothing") {
  WaitBoard board;
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t now : {kLeast, std::int64_t{-1}, std::int64_t{0}, kMost}) {
    for (const std::int64_t begin : {kLeast, std::int64_t{-1}, std::int64_t{0}, kMost}) {
      v1::ReportProgressRequest report = Report(0, now);
      AddWait(&report, begin, std::numeric_limits<std::uint64_t>::max());
      AddWait(&report, begin, 1);
      board.Add(At(1'000'000), 3, static_cast<std::uint64_t>(now ^ begin), report);
    }
  }
  const v1::GetStatusReply reply = Ask(board);
  for (const v1::WorkerWait& wait : reply.waits()) {
    CHECK(wait.wait().begin_micros() <= 1'000'000);
    CHECK(wait.wait().micros() <= static_cast<std::uint64_t>(WaitBoard::kOldestMicros));
  }
  v1::ReportProgressRequest report = Report(std::numeric_limits<std::uint64_t>::max(), 1'000'000);
  for (int i = 0; i < WaitBoard::kMostPerReport + 100; ++i) AddWait(&report, 900'000, 1);
  for (int i = 0; i <= WaitBoard::kMostWorkers; ++i)
    report.mutable_waits(0)->add_workers(static_cast<std::uint32_t>(i));
  WaitBoard other;
  other.Add(At(1'000'000), 3, 99, report);
  CHECK(Ask(other).next_wait() <= WaitBoard::kMostPerReport);
}

}  // namespace
}  // namespace leeway
