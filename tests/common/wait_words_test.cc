#include "common/wait_words.h"

#include "absl/strings/str_cat.h"
#include "tests/catch.h"

namespace leeway {
namespace {

v1::WaitUnderWay Wait(v1::WaitKind kind) {
  v1::WaitUnderWay wait;
  wait.set_kind(kind);
  wait.set_shard(1);
  wait.set_address("10.0.0.7:7100");
  wait.set_clock(17);
  wait.set_millis(14'900);
  return wait;
}

TEST_CASE("A wait in words: for whom, for how long, and why") {
  v1::WaitUnderWay wait = Wait(v1::WAIT_PULL);
  CHECK(WaitWords(wait, WorkerNumber) == "ps 1 at 10.0.0.7:7100, 14 s: weights on their way, Pull of step 17");
  wait.set_reason("shard 1 waits for its initial weights: 8 blocks are missing");
  CHECK(WhyItLasts(wait) == "not yet, Pull of step 17; shard 1 waits for its initial weights: 8 blocks are missing");
  wait.set_error("UNAVAILABLE: connection refused");
  CHECK(WhyItLasts(wait) == "no answer, Pull of step 17; UNAVAILABLE: connection refused");
  wait.set_error("RESOURCE_EXHAUSTED: it has its share");
  CHECK(WhyItLasts(wait) == "no room, Pull of step 17; RESOURCE_EXHAUSTED: it has its share");
  wait.clear_clock();  // an evaluator's
  CHECK(WhyItLasts(wait) == "no room, Pull; RESOURCE_EXHAUSTED: it has its share");
  CHECK(WhyItLasts(Wait(v1::WAIT_TICKET)) == "ticket, OpenPush of step 17");
  CHECK(WhyItLasts(Wait(static_cast<v1::WaitKind>(99))) == "kind 99, ? of step 17");
}

TEST_CASE("A wait at the gate is for workers, by their names") {
  v1::WaitUnderWay wait;
  wait.set_kind(v1::WAIT_GATE);
  wait.set_clock(17);
  for (const std::uint32_t worker : {4, 9}) {
    v1::Waiting& on = *wait.add_on();
    on.set_worker_id(worker);
    on.set_clock(10 + worker);
  }
  const auto name_of = [](std::uint32_t id) { return id == 4 ? "slow" : WorkerNumber(id); };
  CHECK(WaitWords(wait, name_of) == "slow at clock 14, worker 9 at clock 19, 0 s: gate, Pull of step 17");
}

TEST_CASE("Who waits and does not know for which ps, waits for a ps") {
  v1::WaitUnderWay wait;
  wait.set_kind(v1::WAIT_PUSH);
  CHECK(WaitWords(wait, WorkerNumber) == "a ps, 0 s: verdict, Push");
  wait.set_shard(0);
  CHECK(Whom(wait, WorkerNumber) == "ps 0");
}

}  // namespace
}  // namespace leeway
