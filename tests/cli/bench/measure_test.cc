// Medians of rounds, goals in both directions, and who is counted.
#include "cli/bench/measure.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/process.h"
#include "tests/catch.h"
#include "tests/cli/support.h"

namespace leeway {
namespace {

Turns TwoRounds() {
  return {.rounds = 2, .time = absl::ZeroDuration(), .wait = [](absl::Duration) { return true; }};
}

TEST_CASE("measured: a ratio is the median of the rounds' ratios, not the ratio of medians") {
  Measured measured;
  // Per round: 1/1, 2/4, 9/5. Medians: 2 and 4, which would give 0.5; the median of 1, 0.5, 1.8 is 1.
  for (const double speed : {1.0, 2.0, 9.0}) measured.Add("a", {speed, 1 / speed});
  for (const double speed : {1.0, 4.0, 5.0}) measured.Add("b", {speed, 1 / speed});
  const BenchRow speed = measured.Speed("a", "b", 0.9, "what it is");
  CHECK(speed.value == 2);
  CHECK(speed.ratio == 1);
  CHECK(speed.baseline == "b");
  CHECK(speed.MeetsGoal());
  const BenchRow cpu = measured.Cpu("a", "b", 0.9);
  CHECK(cpu.name == "a.cpu");
  CHECK(cpu.baseline == "b.cpu");
  CHECK(cpu.value == 0.5);
  CHECK(cpu.ratio == 1);
  CHECK_FALSE(cpu.MeetsGoal());  // at most 0.9
  CHECK(measured.Speed("b", "", 0, "").ratio == 0);
}

TEST_CASE("measured: each round runs every subject, after one round that does not count") {
  std::string order;
  const std::vector<Subject> subjects = {{"a",
                                          [&order]() -> absl::StatusOr<double> {
                                            order += "a";
                                            return 1e9;
                                          },
                                          {}},
                                         {"b",
                                          [&order]() -> absl::StatusOr<double> {
                                            order += "b";
                                            return 1e9;
                                          },
                                          {}}};
  const absl::StatusOr<Measured> measured = MeasureInTurns(subjects, TwoRounds());
  REQUIRE(measured.ok());
  CHECK(order == "ababab");
  CHECK(measured->PerRound({"a"}, [](const auto& s) { return s[0].gigabytes_per_second; }).size() == 2);
}

TEST_CASE("measured: an error names the subject, an interruption ends it") {
  const std::vector<Subject> failing = {
      {"a", []() -> absl::StatusOr<double> { return absl::UnavailableError("gone"); }, {}}};
  CHECK(MeasureInTurns(failing, TwoRounds()).status() == absl::UnavailableError("a: gone"));
  Turns turns = TwoRounds();
  turns.wait = [](absl::Duration) { return false; };
  CHECK(absl::IsCancelled(MeasureInTurns(failing, turns).status()));
}

TEST_CASE("measured: CPU time counts other processes") {
  auto busy = Process::Start({"busy", {"/bin/sh", "-c", "while :; do :; done"}, {}, TemporaryPath("busy")});
  REQUIRE(busy.ok());
  const double before = CpuSeconds({(*busy)->pid()});
  const double self = CpuSeconds({});
  // Only the child's loop can make the difference grow by so much.
  CHECK(Eventually([&] { return CpuSeconds({(*busy)->pid()}) - before > CpuSeconds({}) - self + 0.05; }));
}

TEST_CASE("bench rows: the table says whether a goal is met, JSON has every field") {
  const std::vector<BenchRow> rows = {{"base", 2, "GB/s", "", 0, 0, false, "the base"},
                                      {"least", 1, "GB/s", "base", 0.5, 0.95, false, ""},
                                      {"most", 1, "s", "base", 0.5, 1.3, true, ""}};
  const std::string table = BenchTable(rows);
  CHECK(table.find(">= 0.95    no  base") != std::string::npos);
  CHECK(table.find("<= 1.30   yes  base") != std::string::npos);
  CHECK(table.find("\nbase   the base\n") != std::string::npos);
  const nlohmann::json list = nlohmann::json::parse(BenchJson(rows));
  REQUIRE(list.size() == 3);
  CHECK(list[2] == nlohmann::json{{"name", "most"},
                                  {"value", 1.0},
                                  {"unit", "s"},
                                  {"baseline", "base"},
                                  {"ratio", 0.5},
                                  {"goal", 1.3},
                                  {"goal_is_most", true},
                                  {"what", ""}});
  CHECK(Median({3, 1}) == 2);
}

}  // namespace
}  // namespace leeway
