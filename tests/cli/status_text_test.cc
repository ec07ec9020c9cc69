// What leeway status, workers and set print.
#include "cli/admin/status_text.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/text_table.h"
#include "tests/catch.h"

namespace leeway {
namespace {

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

v1::GetStatusReply Training() {
  v1::GetStatusReply status;
  status.set_run_id(0xab);
  status.set_state(v1::TRAINING);
  status.set_model("mlp:16");
  status.set_elements(12345);
  status.set_seconds(42);
  status.set_samples(1000);
  status.mutable_policy()->set_number(3);
  status.mutable_policy()->set_staleness_bound(2);
  status.mutable_policy()->mutable_schedule()->set_rate(0.025);
  for (std::uint32_t id = 0; id < 2; ++id) {
    v1::WorkerStatus& worker = *status.add_workers();
    worker.set_worker_id(id);
    worker.set_name(id == 0 ? "fast" : "slow\x1b[2J");
    worker.set_rank(id);
    worker.set_state("live");
    worker.set_clock(1234 - id);
    worker.set_samples_per_second(99.6);
    worker.mutable_progress()->set_samples(10);
    worker.mutable_progress()->mutable_seconds()->set_compute(3);
    worker.mutable_progress()->mutable_seconds()->set_blocked(1);
  }
  v1::BlockedOn& on = *status.mutable_workers(0)->mutable_progress()->add_blocked_on();
  on.set_worker_id(1);
  on.set_seconds(1);
  v1::ShardStatus& shard = *status.add_shards();
  shard.set_address("10.0.0.1:50051");
  shard.set_connected(true);
  shard.mutable_stats()->set_version(77);
  shard.mutable_stats()->mutable_gap()->add_counts(1);
  shard.mutable_stats()->mutable_gap()->add_counts(3);
  shard.mutable_stats()->mutable_gap()->set_sum(3);
  shard.mutable_stats()->mutable_gap()->set_max(1);
  for (int i = 0; i < 9; ++i) status.add_events("event " + std::to_string(i));
  return status;
}

TEST_CASE("status and workers say who waits for whom, first those that cannot reach somebody, in lines that fit") {
  v1::GetStatusReply status = Training();
  v1::WaitUnderWay& gate = *status.mutable_workers(0)->add_waits_under_way();
  gate.set_kind(v1::WAIT_GATE);
  gate.set_millis(99'000);
  gate.set_clock(1234);
  gate.add_on()->set_worker_id(1);
  gate.mutable_on(0)->set_clock(1233);
  v1::WaitUnderWay& wait = *status.mutable_workers(1)->add_waits_under_way();
  wait.set_kind(v1::WAIT_PUSH);
  wait.set_shard(1);
  wait.set_address("10.0.0.7:7100");
  wait.set_millis(14'900);
  wait.set_clock(1233);
  wait.set_error("UNAVAILABLE: failed to connect to all addresses; last error: \x1b[2J timeout");
  const std::vector<std::string> lines = Lines(WorkersText(status));
  REQUIRE(lines.size() == 6);
  CHECK(lines[3] == "waiting: slow?[2J for ps 1 at 10.0.0.7:7100, 14 s: no answer, Push of step 1233;");
  CHECK(lines[4] == "  UNAVAILABLE: failed to connect to all addresses; last error: ?[2J timeout");
  CHECK(lines[5] == "waiting: fast for slow?[2J at clock 1233, 99 s: gate, Pull of step 1234");
  CHECK(StatusText(status).find("\n" + lines[3] + "\n" + lines[4] + "\n" + lines[5] + "\n") != std::string::npos);
  const auto json = nlohmann::json::parse(WorkersJson(status));
  REQUIRE(json[1]["waits_under_way"].size() == 1);
  CHECK(json[1]["waits_under_way"][0]["kind"] == "wait_push");
  CHECK(json[1]["waits_under_way"][0]["address"] == "10.0.0.7:7100");
  CHECK(json[0]["waits_under_way"][0]["on"][0]["worker_id"] == 1);
}

TEST_CASE("status: of very many waits some have a line") {
  v1::GetStatusReply status = Training();
  for (std::uint32_t i = 0; i < 50; ++i) {
    v1::WorkerStatus& worker = *status.add_workers();
    worker.set_worker_id(10 + i);
    worker.set_name("worker-" + std::to_string(i));
    worker.add_waits_under_way()->set_kind(v1::WAIT_PULL);
    worker.mutable_waits_under_way(0)->set_millis(1000 * i);
  }
  const std::vector<std::string> lines = Lines(WorkersText(status));
  REQUIRE(lines.size() == 3 + 50 + 9);
  CHECK(lines[53] == "waiting: worker-49 for a ps, 49 s: weights on their way, Pull");
  CHECK(lines[61] == "waiting: 42 more");
}

TEST_CASE("status: the run, its policy, workers, ps and the newest events") {
  v1::GetStatusReply status = Training();
  const std::string text = StatusText(status);
  CHECK(text.find("run 00000000000000ab, mlp:16 with 12,345 parameters") == 0);
  CHECK(text.find("\ntraining  0:42") != std::string::npos);
  CHECK(text.find("policy 3: staleness_bound=2 ") != std::string::npos);
  CHECK(text.find("learning_rate=0.025") != std::string::npos);
  CHECK(text.find("10.0.0.1:50051  here") != std::string::npos);
  CHECK(text.find("0.8 / 1") != std::string::npos);
  CHECK(text.find("event 3") == std::string::npos);
  CHECK(text.find("event 4") != std::string::npos);
  CHECK(text.find("is changing") == std::string::npos);
  status.set_policy_waits_for("ps 1 has not said");
  CHECK(StatusText(status).find("is changing: ps 1 has not said") != std::string::npos);
  status.mutable_policy()->set_max_delay(1);
  status.mutable_policy()->set_max_delay_sqrt(true);
  status.set_delay_limit(31);
  CHECK(StatusText(status).find("max_delay=sqrt (now 31)") != std::string::npos);
  // Names come over the wire.
  CHECK(text.find('\x1b') == std::string::npos);
  const auto json = nlohmann::json::parse(StatusJson(status));
  CHECK(json["settings"]["staleness_bound"] == 2);
  CHECK(json["settings"]["max_delay"] == "sqrt");
  CHECK(json["delay_limit"] == 31);
  CHECK(json["state"] == "training");
  CHECK(json["policy"]["number"] == 3);
}

TEST_CASE("status and workers fit 80 columns, and say what all wait for") {
  v1::GetStatusReply status = Training();
  status.mutable_workers(0)->set_name("worker-0");
  status.mutable_workers(1)->set_name("worker-1");
  for (auto& worker : *status.mutable_workers()) worker.set_clock(123456);
  status.mutable_workers(0)->mutable_progress()->set_samples(100);
  status.mutable_workers(0)->mutable_progress()->set_pushes_refused(12);
  status.mutable_shards(0)->set_address("127.0.0.1:38145");
  status.mutable_shards(0)->set_connected(false);
  status.mutable_shards(0)->mutable_stats()->set_version(1234567);
  status.mutable_shards(0)->mutable_stats()->set_push_bytes(std::uint64_t{218} << 20);
  status.mutable_shards(0)->mutable_stats()->set_pushes_partial(3);
  status.set_waiting_for("ps 0 is not there");
  const std::string text = StatusText(status);
  INFO(text);
  for (const std::string& line : Lines(text)) CHECK(line.size() <= 80);
  CHECK(text.find("waiting: ps 0 is not there") != std::string::npos);
  CHECK(text.find("missing") != std::string::npos);
  CHECK(text.find("partial 3") != std::string::npos);
  for (const std::string& line : Lines(PolicyText(status.policy()))) CHECK(line.size() <= 80);
}

TEST_CASE("status as JSON: the run's id is text, as everywhere, since other readers round numbers above 2^53") {
  v1::GetStatusReply status = Training();
  status.set_run_id(6342654182235950517);
  CHECK(nlohmann::json::parse(StatusJson(status))["run_id"] == "5805a25fb951cdb5");
}

TEST_CASE("workers: a worker that waits for its own push does not wait for another") {
  v1::GetStatusReply status = Training();
  status.mutable_workers(0)->mutable_progress()->mutable_blocked_on(0)->set_worker_id(0);
  CHECK(Lines(WorkersText(status))[1].find("25 %  own push  live") != std::string::npos);
}

TEST_CASE("workers: a row for each, in columns that stand below each other") {
  v1::GetStatusReply status = Training();
  std::vector<std::string> lines = Lines(WorkersText(status));
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].find("worker") == 0);
  CHECK(lines[1].find("1,234") + 5 == lines[0].find("clock") + 5);
  CHECK(lines[1].find("75 %") != std::string::npos);
  CHECK(lines[1].find("25 %  slow?[2J") != std::string::npos);
  CHECK(lines[1].substr(lines[1].size() - 4) == "live");
  status.mutable_workers(1)->set_state("left");
  status.mutable_workers(1)->set_reason("drained");
  CHECK(Lines(WorkersText(status))[2].find("left: drained") != std::string::npos);
  const auto json = nlohmann::json::parse(WorkersJson(status));
  REQUIRE(json.size() == 2);
  CHECK(json[0]["name"] == "fast");
  CHECK(json[0]["clock"] == 1234);
  // Nobody yet.
  CHECK(Lines(WorkersText(v1::GetStatusReply())).size() == 1);
}

TEST_CASE("set: names and values, as numbers where they are") {
  const v1::Policy policy = Training().policy();
  CHECK(PolicyText(policy).find("policy 3\nsetting ") == 0);
  const auto json = nlohmann::json::parse(PolicyJson(policy));
  CHECK(json["number"] == 3);
  CHECK(json["settings"]["learning_rate"] == 0.025);
  CHECK(json["settings"]["delay_policy"] == "apply");
  // What can be changed is all there, also what the policy leaves to the flags.
  CHECK(json["settings"]["checkpoint_steps"].is_null());
  CHECK(PolicyText(policy).find("checkpoint_interval  (flag of ps 0)  1s and above, or inf\n") != std::string::npos);
  CHECK(PolicyText(policy).find("staleness_bound      2               -1, 0 and above\n") != std::string::npos);
}

TEST_CASE("tables: as wide as what is in them, without blanks at the end") {
  TextTable table({"name", ">count", "note"});
  table.Add({"a", "1", ""});
  table.Add({"longer", "12345678", "x"});
  CHECK(table.Render() ==
        "name       count  note\n"
        "a              1\n"
        "longer  12345678  x\n");
}

}  // namespace
}  // namespace leeway
