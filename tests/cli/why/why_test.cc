// What `leeway why` makes of a status: the table, JSON, and the trace.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/why/wait_keeper.h"
#include "cli/why/why_table.h"
#include "cli/why/why_trace.h"
#include "tests/catch.h"

namespace leeway {
namespace {

v1::WorkerStatus* AddWorker(v1::GetStatusReply* status, std::uint32_t id, const std::string& name, double compute) {
  v1::WorkerStatus* worker = status->add_workers();
  worker->set_worker_id(id);
  worker->set_name(name);
  worker->mutable_progress()->mutable_seconds()->set_compute(compute);
  return worker;
}

v1::WaitTotal* AddTotal(v1::WorkerStatus* worker, v1::WaitKind kind, double seconds, std::uint64_t count) {
  v1::WaitTotal* wait = worker->mutable_progress()->add_waits();
  wait->set_kind(kind);
  wait->set_seconds(seconds);
  wait->set_count(count);
  return wait;
}

v1::GetStatusReply Status() {
  v1::GetStatusReply status;
  v1::WorkerStatus* slow = AddWorker(&status, 0, "slow", 100);
  AddTotal(slow, v1::WAIT_PULL, 0.4, 7)->set_shard(0);
  v1::WorkerStatus* fast = AddWorker(&status, 1, "fast", 40);
  fast->mutable_progress()->mutable_seconds()->set_blocked(50);
  fast->mutable_progress()->mutable_seconds()->set_push(10);
  AddTotal(fast, v1::WAIT_JOURNAL, 6, 30)->set_shard(2);
  AddTotal(fast, v1::WAIT_GATE, 48, 100)->set_worker(0);
  AddTotal(fast, v1::WAIT_GATE, 2, 3)->set_worker(9);  // nobody knows its name
  AddTotal(fast, v1::WAIT_DATA, 4, 1)->set_shard(0);
  AddTotal(fast, v1::WAIT_PULL, 0.3, 2)->set_shard(1);
  AddTotal(fast, v1::WAIT_PUSH, 0.2, 5)->set_shard(1);
  return status;
}

// A worker that has come back is another one of the same name.
TEST_CASE("Table: two workers of one name have their small waits each for themselves") {
  v1::GetStatusReply status;
  AddTotal(AddWorker(&status, 0, "twice", 1000), v1::WAIT_PULL, 5, 3)->set_shard(0);
  AddTotal(AddWorker(&status, 1, "once", 1000), v1::WAIT_PULL, 4, 2)->set_shard(0);
  AddTotal(AddWorker(&status, 2, "twice", 1000), v1::WAIT_PULL, 3, 1)->set_shard(0);
  const std::string text = WhyText(status);
  INFO(text);
  CHECK(text.find(" 5.00 ") != std::string::npos);
  CHECK(text.find(" 4.00 ") != std::string::npos);
  CHECK(text.find(" 3.00 ") != std::string::npos);
}

TEST_CASE("Rows: who waited longest first, with shares of its own time") {
  const std::vector<WhyRow> rows = WhyRows(Status());
  REQUIRE(rows.size() == 7);
  CHECK(rows[0].waiter == "fast");
  CHECK(rows[0].waited_for == "slow");
  CHECK(rows[0].reason == "gate");
  CHECK(rows[0].call == "Pull");
  CHECK(rows[0].share == Approx(0.48));
  CHECK(rows[1].waited_for == "shard 2");
  CHECK(rows[1].reason == "journal");
  CHECK(rows[1].call == "Push");
  CHECK(rows[2].waited_for == "the coordinator");
  CHECK(rows[2].call == "AcquireData");
  CHECK(rows[3].waited_for == "worker 9");
  CHECK(rows[6].waiter == "slow");
  CHECK(rows[6].share == Approx(0.004));
}

TEST_CASE("A pull that waits for an earlier push of its own worker waits for nobody else") {
  v1::GetStatusReply status = Status();
  AddTotal(status.mutable_workers(1), v1::WAIT_GATE, 50, 100)->set_worker(1);
  CHECK(WhyRows(status)[0].waited_for == "its own push");
}

TEST_CASE("The table sums up what is hardly worth a row") {
  CHECK(WhyText(Status()) ==
        "waiter  waited for       why      call           seconds    share    times\n"
        "fast    slow             gate     Pull             48.00   48.0 %      100\n"
        "fast    shard 2          journal  Push              6.00    6.0 %       30\n"
        "fast    the coordinator  records  AcquireData       4.00    4.0 %        1\n"
        "fast    worker 9         gate     Pull              2.00    2.0 %        3\n"
        "fast    others                                      0.50    0.5 %        7\n"
        "slow    others                                      0.40    0.4 %        7\n"
        "share: of the waiter's time since it joined\n");
  CHECK(WhyText(v1::GetStatusReply()) == "nobody has waited for anybody yet\n");
}

TEST_CASE("No name steers the terminal") {
  v1::GetStatusReply status = Status();
  status.mutable_workers(0)->set_name("\x1b[2J\n\xc2\x9b\x31mslow");
  const std::string text = WhyText(status);
  CHECK(std::none_of(text.begin(), text.end(), [](char c) { return c != '\n' && (c < 0x20 || c > 0x7e); }));
  CHECK(std::count(text.begin(), text.end(), '\n') == 8);
}

TEST_CASE("For programs: the same rows, all of them") {
  const nlohmann::json list = nlohmann::json::parse(WhyJson(Status()));
  REQUIRE(list.size() == 7);
  CHECK(list[0]["waiter"] == "fast");
  CHECK(list[0]["waited_for"] == "slow");
  CHECK(list[0]["seconds"] == 48.0);
  CHECK(list[0]["count"] == 100);
}

TEST_CASE("For programs: waits that are under way are rows too, of whom each is one") {
  v1::GetStatusReply status = Status();
  v1::WaitUnderWay& pull = *status.mutable_workers(0)->add_waits_under_way();
  pull.set_kind(v1::WAIT_PULL);
  pull.set_shard(1);
  pull.set_address("10.0.0.7:7100");
  pull.set_millis(14'250);
  pull.set_error("UNAVAILABLE: refused");
  v1::WaitUnderWay& gate = *status.mutable_workers(1)->add_waits_under_way();
  gate.set_kind(v1::WAIT_GATE);
  gate.add_on()->set_worker_id(0);
  v1::WaitUnderWay& ticket = *status.mutable_workers(1)->add_waits_under_way();
  ticket.set_kind(v1::WAIT_TICKET);
  ticket.set_shard(0);
  const nlohmann::json list = nlohmann::json::parse(WhyJson(status));
  REQUIRE(list.size() == 10);
  CHECK(list[0]["under_way"] == false);
  CHECK(list[7]["under_way"] == true);
  CHECK(list[7]["waiter"] == "slow");
  CHECK(list[7]["waited_for"] == "shard 1");
  CHECK(list[7]["reason"] == "no answer");
  CHECK(list[7]["call"] == "Pull");
  CHECK(list[7]["seconds"] == 14.25);
  CHECK(list[7]["share"].is_null());
  CHECK(list[7]["address"] == "10.0.0.7:7100");
  CHECK(list[7]["error"] == "UNAVAILABLE: refused");
  CHECK(list[8]["waited_for"] == "slow");
  CHECK(list[9]["waited_for"] == "the coordinator");
  CHECK(list[9]["call"] == "OpenPush");
}

void AddWait(v1::GetStatusReply* status, std::uint32_t worker, v1::WaitKind kind, std::int64_t begin,
             std::uint64_t micros) {
  v1::WorkerWait* wait = status->add_waits();
  wait->set_worker_id(worker);
  wait->mutable_wait()->set_kind(kind);
  wait->mutable_wait()->set_clock(17);
  wait->mutable_wait()->set_begin_micros(begin);
  wait->mutable_wait()->set_micros(micros);
}

TEST_CASE("The trace has what the Trace Event Format asks for") {
  v1::GetStatusReply status = Status();
  AddWait(&status, 1, v1::WAIT_GATE, 1'000'000, 250'000);
  status.mutable_waits(0)->mutable_wait()->add_workers(0);
  status.mutable_waits(0)->mutable_wait()->set_shard(2);
  AddWait(&status, 1, v1::WAIT_DATA, 1'500'000, 1'000);
  AddWait(&status, 0, v1::WAIT_PULL, 1'600'000, 2'000);
  status.mutable_workers(0)->set_name("s\"l\\ow\n");  // whatever a worker is called
  const nlohmann::json trace = nlohmann::json::parse(WhyTrace(status));
  REQUIRE(trace["traceEvents"].is_array());
  std::map<int, std::string> processes;
  int slices = 0;
  for (const nlohmann::json& event : trace["traceEvents"]) {
    REQUIRE(event["name"].is_string());
    REQUIRE(event["pid"].is_number_integer());
    REQUIRE(event["tid"].is_number_integer());
    CHECK(event["pid"] > 0);
    if (event["ph"] == "M") {
      CHECK((event["name"] == "process_name" || event["name"] == "thread_name"));
      if (event["name"] == "process_name") processes[event["pid"]] = event["args"]["name"];
      continue;
    }
    ++slices;
    CHECK(event["ph"] == "X");
    CHECK(event["ts"].is_number());
    CHECK(event["dur"].is_number_unsigned());
    CHECK(event["cat"].is_string());
    CHECK(processes.count(event["pid"]) == 1);  // named before its first slice
  }
  CHECK(slices == 3);
  CHECK(processes[2] == "fast");
  CHECK(processes[1] == "s\"l\\ow\n");
  const nlohmann::json& gate = trace["traceEvents"][4];
  CHECK(gate["name"] == "gate: s\"l\\ow\n");
  CHECK(gate["ts"] == 1'000'000);
  CHECK(gate["dur"] == 250'000);
  CHECK(gate["args"]["step"] == 17);
  CHECK(gate["args"]["shard"] == 2);
  CHECK(nlohmann::json::parse(WhyTrace(v1::GetStatusReply()))["traceEvents"].empty());
}

TEST_CASE("A kind of wait that this version does not know is shown as such") {
  v1::GetStatusReply status = Status();
  status.mutable_workers(1)->mutable_progress()->mutable_waits(1)->set_kind(static_cast<v1::WaitKind>(77));
  CHECK(WhyRows(status)[0].reason == "kind 77");
}

TEST_CASE("Waits are collected over answers, bounded, and come out in order") {
  WaitKeeper keeper;
  v1::GetStatusReply answer;
  AddWait(&answer, 1, v1::WAIT_PULL, 50, 1);
  answer.set_lost_waits(3);
  keeper.Take(&answer);
  CHECK(answer.waits_size() == 0);
  for (std::size_t i = 0; i < WaitKeeper::kMost; i += 1000) {
    for (int j = 0; j < 1000; ++j) AddWait(&answer, 1, v1::WAIT_PULL, 40, 1);
    keeper.Take(&answer);
  }
  AddWait(&answer, 1, v1::WAIT_PULL, 30, 1);
  keeper.Take(&answer);
  v1::GetStatusReply all;
  keeper.Give(&all);
  CHECK(all.waits_size() == static_cast<int>(WaitKeeper::kMost));
  CHECK(all.lost_waits() == 5);
  CHECK(all.waits(0).wait().begin_micros() == 30);
  CHECK(all.waits(1).wait().begin_micros() == 40);
}

}  // namespace
}  // namespace leeway
