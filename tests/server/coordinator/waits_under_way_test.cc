#include "server/coordinator/waits_under_way.h"

#include <limits>
#include <string>

#include "common/utf8.h"
#include "tests/catch.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

// The heartbeat `number` of worker 3, which has waited for this shard for so long.
v1::HeartbeatRequest Heartbeat(std::uint64_t number, std::uint32_t shard, std::uint64_t millis) {
  v1::HeartbeatRequest heartbeat;
  heartbeat.mutable_stamp()->set_worker_id(3);
  heartbeat.mutable_stamp()->set_incarnation(99);
  heartbeat.set_number(number);
  v1::WaitUnderWay& wait = *heartbeat.add_waits();
  wait.set_kind(v1::WAIT_PUSH);
  wait.set_shard(shard);
  wait.set_address("10.0.0.7:7100");
  wait.set_clock(17);
  wait.set_millis(millis);
  wait.set_error("UNAVAILABLE: refused");
  return heartbeat;
}

v1::WorkerStatus Ask(const WaitsUnderWay& waits, Instant now, std::uint32_t worker = 3) {
  v1::WorkerStatus status;
  status.set_worker_id(worker);
  waits.Fill(now, &status);
  return status;
}

TEST_CASE("A wait goes on from one heartbeat to the next, and ends when one says nothing of it") {
  WaitsUnderWay waits;
  waits.Hear(At(10), Heartbeat(1, 1, 7000));
  v1::WorkerStatus status = Ask(waits, At(12.5));
  REQUIRE(status.waits_under_way_size() == 1);
  CHECK(status.waits_under_way(0).kind() == v1::WAIT_PUSH);
  CHECK(status.waits_under_way(0).shard() == 1);
  CHECK(status.waits_under_way(0).address() == "10.0.0.7:7100");
  CHECK(status.waits_under_way(0).clock() == 17);
  CHECK(status.waits_under_way(0).error() == "UNAVAILABLE: refused");
  CHECK(status.waits_under_way(0).millis() == 9500);
  CHECK(waits.Longest(At(12.5), 3) == absl::Milliseconds(9500));
  CHECK(Ask(waits, At(12.5), 4).waits_under_way().empty());
  CHECK(waits.Longest(At(12.5), 4) == absl::ZeroDuration());
  v1::HeartbeatRequest over = Heartbeat(2, 1, 0);
  over.clear_waits();
  waits.Hear(At(13), over);
  CHECK(Ask(waits, At(13)).waits_under_way().empty());
  waits.Hear(At(14), Heartbeat(1, 1, 7000));  // the network brings it once more
  CHECK(Ask(waits, At(14)).waits_under_way().empty());
}

TEST_CASE("A new incarnation's heartbeats count from the first one on, and a worker that is gone waits for nobody") {
  WaitsUnderWay waits;
  waits.Hear(At(10), Heartbeat(50, 1, 7000));
  v1::HeartbeatRequest again = Heartbeat(1, 2, 8000);
  again.mutable_stamp()->set_incarnation(100);
  waits.Hear(At(11), again);
  REQUIRE(Ask(waits, At(11)).waits_under_way_size() == 1);
  CHECK(Ask(waits, At(11)).waits_under_way(0).shard() == 2);
  waits.Forget(3);
  CHECK(Ask(waits, At(11)).waits_under_way().empty());
}

TEST_CASE("What a hostile worker tells is bounded, and printable") {
  WaitsUnderWay waits;
  v1::HeartbeatRequest heartbeat = Heartbeat(1, 1, std::numeric_limits<std::uint64_t>::max());
  v1::WaitUnderWay& wait = *heartbeat.mutable_waits(0);
  wait.set_address("\x1b[2J" + std::string(100'000, 'a'));
  wait.set_error("\x1b[2J\n" + std::string(100'000, 'e'));
  wait.set_reason("\xff\xfe\xe2\x80\xae");
  for (int i = 0; i < 1000; ++i) wait.add_on()->set_worker_id(7);
  for (int i = 0; i < 9; ++i) *heartbeat.add_waits() = heartbeat.waits(0);
  waits.Hear(At(10), heartbeat);
  const v1::WorkerStatus status = Ask(waits, At(1e6));
  REQUIRE(status.waits_under_way_size() == WaitsUnderWay::kMost);
  for (const v1::WaitUnderWay& kept : status.waits_under_way()) {
    CHECK(kept.on_size() == WaitsUnderWay::kMostWorkers);
    CHECK(kept.ByteSizeLong() < 1000);
    CHECK(kept.millis() < std::uint64_t{1} << 41);
    for (const std::string& text : {kept.address(), kept.error(), kept.reason()}) {
      CHECK(PrintableUtf8(text, text.size()) == text);
    }
  }
  CHECK(waits.Longest(At(1e6), 3) > absl::Hours(1));
}

}  // namespace
}  // namespace leeway
