#include "cli/report/summary.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/cli/report/sample.h"

namespace leeway {
namespace {

using Catch::Contains;
using nlohmann::json;

json Parse(const v1::GetStatusReply& status, const RunFacts& facts = {}) {
  return json::parse(RenderSummaryJson(status, facts));
}

std::vector<std::string> Keys(const json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST_CASE("summary.json: the sample's figures") {
  const json summary = Parse(SampleStatus(), SampleFacts());
  CHECK(summary["format"] == 1);
  CHECK(summary["state"] == "finished");
  CHECK(summary["stop_reason"] == "5 epochs");
  CHECK(summary["run_id"] == "8c0ffee123456789");
  CHECK(summary["final_accuracy"] == 0.9031);
  CHECK(summary["final_loss"] == 0.2719);
  CHECK(summary["final_evaluation"] == true);
  CHECK(summary["best_accuracy"] >= 0.9031);
  CHECK(summary["weights_crc32c"] == "00c0de42");
  CHECK(summary["seconds"] == 112.4);
  CHECK(summary["samples"] == 300000);
  CHECK(summary["samples_per_second"].get<double>() == Approx(300000 / 112.4));
  CHECK(summary["steps"] == 2324);
  CHECK(summary["accepted_pushes"] == 2324);
  CHECK(summary["accepted_pushes_per_second"].get<double>() == Approx(2324 / 112.4));
  CHECK(summary["mean_gap"].get<double>() == Approx(3385.0 / 2340));
  CHECK(summary["max_gap"] == 4);
  CHECK(summary["gap"]["counts"] == json({1120, 1402, 1280, 704, 174}));
  CHECK(summary["mean_delay"].get<double>() == Approx(3).epsilon(0.05));
  CHECK(summary["max_delay"] == 17);
  CHECK(summary["num_workers"] == 4);
  CHECK(summary["num_shards"] == 2);
  CHECK(summary["quarantined"] == 0);
  v1::GetStatusReply status = SampleStatus();
  status.mutable_workers(1)->set_state("quarantined");
  CHECK(Parse(status)["quarantined"] == 1);
  CHECK(summary["workers"].size() == 5);
  CHECK(summary["workers"][4]["role"] == "evaluator");
  CHECK(summary["workers"][4]["loss"].is_null());
  const json& worker = summary["workers"][1];
  CHECK(worker["name"] == "worker-1");
  CHECK(worker["loss"].get<double>() == Approx(0.41));
  CHECK(worker["seconds"]["paced"] == 4);
  CHECK(worker["pushes"]["applied"] == 582);
  CHECK(worker["blocked_on"][2]["id"] == 4);
  CHECK(summary["shards"][1]["address"] == "127.0.0.1:40002");
  CHECK(summary["shards"][1]["push_bytes"] == 2'012'345'678);
  CHECK(summary["shards"][1]["gap"]["counts"] == json({560, 701, 640, 352, 87}));
  CHECK(summary["policy"]["staleness_bound"] == 4);
  CHECK(summary["policy"]["max_delay"] == -1);
  CHECK(summary["policy"]["delay_policy"] == "scale");
  CHECK(summary["policy"]["optimizer"]["kind"] == "adam");
  CHECK(summary["policy"]["groups"] == json::array());
  CHECK(summary["evaluations"].size() == 10);
  CHECK(summary["training"].size() == 400);
  CHECK(summary["versions"]["oneDNN"] == "2.7");
  const json& communication = summary["workers"][0]["communication_per_step"];
  CHECK(communication["exposed_ms"] == Approx(1e3 * 6.5 / 585));
  CHECK(communication["hidden_ms"] == Approx(1e3 * 23 / 585));
  const json& seconds = summary["workers"][0]["seconds"];
  double total = 0;
  for (const auto& [phase, spent] : seconds.items()) total += spent.get<double>();
  CHECK(communication["exposed_share"] == Approx(6.5 / total));
}

// Scripts rely on these: add keys, change none.
TEST_CASE("summary.json: the keys") {
  const json full = Parse(SampleStatus(), SampleFacts());
  const std::vector<std::string> keys = {"accepted_pushes",
                                         "accepted_pushes_per_second",
                                         "best_accuracy",
                                         "command_line",
                                         "delay",
                                         "elements",
                                         "evaluations",
                                         "failure",
                                         "final_accuracy",
                                         "final_evaluation",
                                         "final_loss",
                                         "format",
                                         "gap",
                                         "machine",
                                         "max_delay",
                                         "max_gap",
                                         "mean_delay",
                                         "mean_gap",
                                         "model",
                                         "num_records",
                                         "num_shards",
                                         "num_workers",
                                         "policy",
                                         "quarantined",
                                         "run_id",
                                         "samples",
                                         "samples_per_second",
                                         "seconds",
                                         "shards",
                                         "started",
                                         "state",
                                         "steps",
                                         "stop_reason",
                                         "training",
                                         "training_loss",
                                         "versions",
                                         "waiting_for",
                                         "weights_crc32c",
                                         "workers"};
  CHECK(Keys(full) == keys);
  CHECK(Keys(Parse({})) == keys);
  CHECK(Keys(full["workers"][0]) == std::vector<std::string>{"blocked_on",
                                                             "clock",
                                                             "communication_per_step",
                                                             "device",
                                                             "exposed_seconds",
                                                             "hidden_seconds",
                                                             "id",
                                                             "loss",
                                                             "name",
                                                             "pushes",
                                                             "rank",
                                                             "reason",
                                                             "retries",
                                                             "role",
                                                             "samples",
                                                             "samples_per_second",
                                                             "seconds",
                                                             "state",
                                                             "steps",
                                                             "steps_given_up"});
  CHECK(Keys(full["workers"][0]["seconds"]) ==
        std::vector<std::string>{"blocked", "compute", "data", "paced", "pull", "push"});
  CHECK(Keys(full["shards"][0]) == std::vector<std::string>{"address", "blocks", "chunks", "connected", "delay", "gap",
                                                            "index", "pull_bytes", "pulls_blocked", "push_bytes",
                                                            "pushes", "version"});
}

TEST_CASE("summary.json: what is not there is null, and odd values do no harm") {
  const json empty = Parse({});
  for (const char* key : {"final_accuracy", "final_loss", "best_accuracy", "training_loss", "weights_crc32c",
                          "mean_gap", "mean_delay", "samples_per_second", "accepted_pushes_per_second"}) {
    CAPTURE(key);
    CHECK(empty[key].is_null());
  }
  CHECK(empty["final_evaluation"] == false);
  CHECK(empty["seconds"] == 0);

  v1::GetStatusReply status;
  v1::Evaluation& evaluation = *status.add_evaluations();
  evaluation.set_loss(std::numeric_limits<double>::quiet_NaN());
  evaluation.set_accuracy(0.25);
  status.add_workers()->set_name("\xff\xfe not UTF-8 \"quoted\"\n");
  status.set_run_id(~std::uint64_t{0});
  status.mutable_policy()->set_seed(~std::uint64_t{0});
  status.mutable_policy()->set_aggregation(static_cast<v1::Aggregation>(77));
  const json odd = Parse(status, {"\xc3\x28", "", "", {}});
  CHECK(odd["final_loss"].is_null());
  CHECK(odd["final_accuracy"] == 0.25);
  CHECK(odd["weights_crc32c"].is_null());
  CHECK(odd["policy"]["seed"] == ~std::uint64_t{0});
  CHECK_THAT(odd["workers"][0]["name"].get<std::string>(), Contains("not UTF-8 \"quoted\"\n"));
}

TEST_CASE("Figures: the final evaluation is the one on final weights, whatever comes after it") {
  v1::GetStatusReply status;
  for (double accuracy : {0.5, 0.9, 0.7}) status.add_evaluations()->set_accuracy(accuracy);
  CHECK(Parse(status)["final_accuracy"] == 0.7);
  CHECK(Parse(status)["best_accuracy"] == 0.9);
  status.mutable_evaluations(0)->set_final(true);
  CHECK(Parse(status)["final_accuracy"] == 0.5);
  CHECK(Parse(status)["final_evaluation"] == true);
}

TEST_CASE("Summary table: the sample, as it looks") {
  const std::string table = RenderSummaryTable(SampleStatus());
  CHECK_THAT(table, Catch::StartsWith("accuracy      90.3 %  final weights, crc32c 00c0de42\n"
                                      "loss          0.2719  training "));
  CHECK_THAT(table, Contains("samples      300,000  2669 per second\n"
                             "steps          2,324  20.7 accepted pushes per second\n"
                             "gap             1.45  mean; at most 4\n"));
  CHECK_THAT(table, Contains("worker    state  steps  samples  applied  refused   data   pull  compute   push  "
                             "blocked  paced  exposed   hidden\n"
                             "worker-0   left    585   74,880      581        4  "));
  CHECK_THAT(table, Contains("  0.0 %  11.1 ms  39.3 ms\n") && Contains("\nexposed, hidden: communication per step"));
  CHECK_THAT(table, !Contains("evaluator"));
  // Columns without anything to tell are not there; those that tell something are.
  v1::GetStatusReply status = SampleStatus();
  for (v1::WorkerStatus& worker : *status.mutable_workers()) {
    worker.mutable_progress()->set_pushes_refused(0);
    worker.mutable_progress()->mutable_seconds()->set_paced(0);
  }
  status.mutable_workers(0)->mutable_progress()->set_pushes_dropped(77);
  const std::string other = RenderSummaryTable(status);
  CHECK_THAT(other, !Contains("refused") && !Contains("paced") && Contains("dropped") && Contains(" 77 "));
}

TEST_CASE("Summary table: empty, and with names that would steer the terminal") {
  const std::string empty = RenderSummaryTable({});
  CHECK_THAT(empty, Contains("no worker has trained") && Contains("last evaluation") && !Contains("nan"));
  v1::GetStatusReply status;
  v1::WorkerStatus& worker = *status.add_workers();
  worker.set_name("\x1b[2Jw\u00e4\u00e4rk");
  worker.set_state("\r");
  const std::string table = RenderSummaryTable(status);
  CHECK_THAT(table, !Contains("\x1b") && !Contains("\r") && Contains("\ufffd[2Jw\u00e4\u00e4rk"));
  CHECK_THAT(table, Contains("worker     state  "));  // ten columns, not twelve bytes
}

}  // namespace
}  // namespace leeway
