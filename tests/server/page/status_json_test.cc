#include "server/page/status_json.h"

#include <time.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/gzip.h"
#include "tests/catch.h"

namespace leeway {
namespace {

using nlohmann::json;

v1::WorkerStatus* AddTrainer(v1::GetStatusReply* status, std::uint32_t id, const std::string& state,
                             std::uint64_t clock) {
  v1::WorkerStatus* worker = status->add_workers();
  worker->set_worker_id(id);
  worker->set_name(absl::StrCat("worker-", id));
  worker->set_rank(id);
  worker->set_state(state);
  worker->set_clock(clock);
  return worker;
}

// Of this thread: what a busy machine makes of it does not count.
double CpuMilliseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

TEST_CASE("StatusJson: says who is ahead, who stands at the gate, and counts only those that are live") {
  v1::GetStatusReply status;
  status.mutable_policy()->set_staleness_bound(2);
  AddTrainer(&status, 0, "live", 10);
  AddTrainer(&status, 1, "live", 12)->set_waits_for(0 + 1);
  AddTrainer(&status, 2, "live", 13);
  AddTrainer(&status, 3, "expired", 4);
  AddTrainer(&status, 4, "parked", 6);
  v1::WorkerStatus* evaluator = AddTrainer(&status, 5, "observer", 0);
  evaluator->set_role(v1::EVALUATOR);
  const json page = json::parse(StatusJson(status));
  CHECK(page["slowest"] == 10);
  CHECK(page["fastest"] == 13);
  const json& workers = page["workers"];
  REQUIRE(workers.size() == 6);
  CHECK(workers[0]["at_gate"] == false);
  CHECK(workers[1]["at_gate"] == false);
  CHECK(workers[1]["waits_for"] == 0);
  CHECK(workers[0]["waits_for"] == -1);
  CHECK(workers[2]["at_gate"] == true);
  CHECK(workers[5]["name"] == "worker-3");  // those that are gone come last
  CHECK(workers[5]["at_gate"] == false);
  CHECK(workers[4]["role"] == "evaluator");
  status.mutable_policy()->set_staleness_bound(-1);
  const json unbounded = json::parse(StatusJson(status));
  for (const json& worker : unbounded["workers"]) CHECK(worker["at_gate"] == false);
}

TEST_CASE("StatusJson: says what a worker waits for at this moment, in words") {
  v1::GetStatusReply status;
  AddTrainer(&status, 0, "live", 10);
  v1::WorkerStatus* waits = AddTrainer(&status, 1, "live", 12);
  v1::WaitUnderWay& gate = *waits->add_waits_under_way();
  gate.set_kind(v1::WAIT_GATE);
  gate.set_millis(9000);
  gate.set_clock(12);
  for (const std::uint32_t worker : {0u, 77u, 1u}) gate.add_on()->set_worker_id(worker);
  waits->add_waits_under_way()->set_kind(v1::WAIT_PULL);  // the first one is told
  const json page = json::parse(StatusJson(status));
  CHECK(page["workers"][0]["wait"] == "");
  CHECK(page["workers"][1]["wait"] ==
        "worker-0 at clock 0, worker 77 at clock 0, its own push at clock 0, 9 s: gate, Pull of step 12");
}

TEST_CASE("StatusJson: the limit of the delay is the one of now") {
  v1::GetStatusReply status;
  status.mutable_policy()->set_max_delay(-1);
  CHECK(json::parse(StatusJson(status))["policy"]["max_delay"] == -1);
  status.mutable_policy()->set_max_delay(1);
  status.mutable_policy()->set_max_delay_sqrt(true);
  status.set_delay_limit(31);
  CHECK(json::parse(StatusJson(status))["policy"]["max_delay"] == 31);
}

TEST_CASE("StatusJson: histograms of all shards together, rates of each") {
  v1::GetStatusReply status;
  for (std::uint32_t i = 0; i < 2; ++i) {
    v1::ShardStatus* shard = status.add_shards();
    shard->set_index(i);
    shard->set_push_bytes_per_second(1234567.8);
    v1::Histogram* gap = shard->mutable_stats()->mutable_gap();
    for (std::uint32_t value = 0; value <= i; ++value) gap->add_counts(10);
    gap->set_sum(10.0 * i);
    gap->set_max(i);
  }
  const json page = json::parse(StatusJson(status));
  CHECK(page["gap"]["counts"] == json({20, 10}));
  CHECK(page["gap"]["max"] == 1);
  CHECK(page["gap"]["mean"].get<double>() == Approx(10.0 / 30).epsilon(1e-5));
  CHECK(page["delay"]["mean"].is_null());
  CHECK(page["shards"][1]["push_rate"] == 1234570);
}

TEST_CASE("StatusJson: curves are thinned, and begin and end where they do") {
  v1::GetStatusReply status;
  for (int i = 0; i < 10000; ++i) {
    v1::Evaluation* evaluation = status.add_evaluations();
    evaluation->set_seconds(i);
    evaluation->set_accuracy(0.123456789);
  }
  status.mutable_evaluations(9999)->set_final(true);
  v1::LossPoint* point = status.add_training();
  point->set_loss(std::numeric_limits<double>::quiet_NaN());
  const json page = json::parse(StatusJson(status));
  const json& seconds = page["evaluations"]["seconds"];
  CHECK(seconds.size() <= kMostPagePoints);
  CHECK(seconds.size() >= kMostPagePoints / 2);
  CHECK(seconds.front().get<double>() < 40);
  CHECK(seconds.back() == 9999);
  CHECK(page["evaluations"]["final"].back() == 1);
  CHECK(page["evaluations"]["accuracy"][0].dump() == "0.123457");
  CHECK(page["training"]["loss"][0].is_null());
}

TEST_CASE("StatusJson: hostile text and senseless numbers stay text and numbers") {
  v1::GetStatusReply status;
  v1::WorkerStatus* worker = AddTrainer(&status, 0, "live", std::numeric_limits<std::uint64_t>::max());
  worker->set_name("</script><img src=x onerror=alert(1)>\"\\\n\x01");
  worker->set_recent_loss(-std::numeric_limits<double>::infinity());
  worker->set_waiting_share(1e300);
  worker->set_samples_per_second(5e-324);
  status.add_events("12.5 worker 'a b' leaves");
  status.add_events("no time \xff\xfe here");
  const json page = json::parse(StatusJson(status));
  CHECK(page["workers"][0]["name"] == "</script><img src=x onerror=alert(1)>\"\\\n\x01");
  CHECK(page["workers"][0]["loss"].is_null());
  CHECK(page["events"][0]["seconds"] == 12.5);
  CHECK(page["events"][0]["text"] == "worker 'a b' leaves");
  CHECK(page["events"][1]["text"].get<std::string>().find("no time") == 0);
}

TEST_CASE("StatusJson: an empty status is a page too, and a huge one is bounded") {
  const json empty = json::parse(StatusJson(v1::GetStatusReply()));
  CHECK(empty["state"] == "STARTING");
  CHECK(empty["slowest"].is_null());
  CHECK(empty["workers"].empty());
  v1::GetStatusReply status;
  for (std::uint32_t i = 0; i < 6000; ++i) AddTrainer(&status, i, i % 3 == 0 ? "live" : "left", i);
  const json page = json::parse(StatusJson(status));
  CHECK(page["workers"].size() == kMostPageWorkers);
  CHECK(page["workers"][1999]["state"] == "live");
  CHECK(page["workers"][2000]["id"] == 5999);  // of those that are gone, the newest
}

TEST_CASE("StatusJson: a thousand workers cost some milliseconds a second") {
  v1::GetStatusReply status;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    v1::WorkerStatus* worker = AddTrainer(&status, i, "live", 1000 + i % 9);
    worker->set_samples_per_second(1234.5678 + i);
    worker->set_recent_loss(0.3 + i * 1e-4);
    worker->mutable_progress()->set_device("cpu, AVX-512");
  }
  for (int i = 0; i < 1000; ++i) {
    status.add_training()->set_loss(std::exp(-i * 0.01));
    status.add_evaluations()->set_loss(std::exp(-i * 0.01));
  }
  const double start = CpuMilliseconds();
  const std::string text = StatusJson(status);
  const double made = CpuMilliseconds();
  const std::string packed = Gzip(text);
  WARN(text.size() << " bytes in " << made - start << " ms of CPU time, packed to " << packed.size() << " in "
                   << CpuMilliseconds() - made << " ms");
  CHECK(text.size() < 500000);
  CHECK(packed.size() < 60000);
}

}  // namespace
}  // namespace leeway
