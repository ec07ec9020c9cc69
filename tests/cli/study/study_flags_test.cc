// What a study is asked for: workers that differ, and policies.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/study/counts.h"
#include "cli/study/simulation.h"
#include "cli/study/study_policies.h"
#include "cli/study/worker_speeds.h"
#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("Counts: mean, quantiles and the largest") {
  Counts counts;
  CHECK(counts.Mean() == 0);
  CHECK(counts.Quantile(0.99) == 0);
  for (std::uint64_t value = 1; value <= 100; ++value) counts.Add(1000 * value);
  CHECK(counts.Mean() == 50500);
  CHECK(counts.Max() == 100000);
  CHECK(counts.Quantile(0.5) == 50000);
  CHECK(counts.Quantile(0.99) == 99000);
  CHECK(counts.Quantile(1) == 100000);
  counts.Add(0);
  CHECK(counts.Quantile(0) == 0);
}

TEST_CASE("ParseStragglers: what is named, with its usual numbers or others") {
  CHECK(ParseStragglers("none")->jitter == 0);
  CHECK(ParseStragglers("jitter")->jitter == 0.1);
  const Stragglers all = *ParseStragglers("mixed,deaths:100:7");
  CHECK(all.jitter == 0.1);
  CHECK(all.slow_steps == 0.05);
  CHECK(all.slow_step_factor == 5);
  CHECK(all.slow_workers == 0.125);
  CHECK(all.slow_worker_factor == 4);
  CHECK(all.life == 100);
  CHECK(all.away == 7);
  const Stragglers one = *ParseStragglers("transient:0.01:20");
  CHECK(one.jitter == 0.02);
  CHECK(one.slow_steps == 0.01);
  CHECK(one.slow_step_factor == 20);
  CHECK(one.slow_workers == 0);
  CHECK(one.life == 0);
}

TEST_CASE("ParseStragglers: the item that is wrong is named") {
  for (const std::string text : {"",
                                 "slow",
                                 "none,jitter",
                                 "jitter:",
                                 "jitter:-0.1",
                                 "jitter:0.31",
                                 "jitter:nan",
                                 "jitter:0.1:2",
                                 "jitter,jitter",
                                 "transient:0.1",
                                 "transient:1.1:2",
                                 "transient:0.1:0.5",
                                 "transient:0.1:1e9",
                                 "persistent:0.1:inf",
                                 "deaths:0:1",
                                 "deaths:1:-1",
                                 "deaths:1e9:1",
                                 "deaths:5",
                                 "mixed:2",
                                 "mixed,transient",
                                 "jitter,",
                                 ","}) {
    CAPTURE(text);
    const auto parsed = ParseStragglers(text);
    REQUIRE_FALSE(parsed.ok());
    const std::string message(parsed.status().message());
    CHECK(message.find("allowed: none, or a list of jitter") != message.npos);
    CHECK(message.find('\n') == message.npos);
  }
}

TEST_CASE("WorkerSpeeds: steps have the mean and the spread that were asked for") {
  const WorkerSpeeds speeds(*ParseStragglers("jitter:0.1,transient:0.1:3,persistent:0.5:4"), 5, 2, 7);
  CHECK(speeds.slow_workers() == 3);
  constexpr std::uint64_t kSteps = 20000;
  for (std::uint32_t rank = 0; rank < 5; ++rank) {
    double sum = 0, slow = 0;
    const double usual = rank < 3 ? 8 : 2;
    for (std::uint64_t step = 0; step < kSteps; ++step) {
      const double seconds = speeds.StepSeconds(rank, step);
      REQUIRE(seconds > 0);
      sum += seconds;
      slow += seconds > 2 * usual ? 1 : 0;
    }
    CHECK(slow / kSteps == Approx(0.1).margin(0.01));
    CHECK(sum / kSteps == Approx(usual * (0.9 + 0.3)).epsilon(0.02));
  }
  double squares = 0;
  const WorkerSpeeds jitter(*ParseStragglers("jitter:0.1"), 1, 1, 7);
  for (std::uint64_t step = 0; step < kSteps; ++step) squares += std::pow(jitter.StepSeconds(0, step) - 1, 2);
  CHECK(std::sqrt(squares / kSteps) == Approx(0.1).epsilon(0.02));
  CHECK(WorkerSpeeds(*ParseStragglers("persistent:0.01:4"), 8, 1, 1).slow_workers() == 1);
  CHECK(WorkerSpeeds(*ParseStragglers("none"), 8, 1, 1).slow_workers() == 0);
}

TEST_CASE("WorkerSpeeds: lives, and another seed is another run") {
  const Stragglers deaths = *ParseStragglers("deaths:100:5");
  const WorkerSpeeds speeds(deaths, 1000, 2, 7), other(deaths, 1000, 2, 8);
  double sum = 0;
  for (std::uint32_t rank = 0; rank < 1000; ++rank) {
    for (std::uint64_t life = 0; life < 10; ++life) sum += speeds.LifeSeconds(rank, life);
  }
  CHECK(sum / 10000 == Approx(200).epsilon(0.05));
  CHECK(speeds.LifeSeconds(3, 1) != other.LifeSeconds(3, 1));
  CHECK(speeds.StepSeconds(3, 1) != other.StepSeconds(3, 1));
  CHECK(speeds.StepSeconds(3, 1) == WorkerSpeeds(deaths, 1000, 2, 7).StepSeconds(3, 1));
}

std::vector<StudyPolicy> Parsed(const std::string& text, std::uint32_t workers = 8) {
  const auto policies = ParseStudyPolicies(text, workers, NeverWait());
  REQUIRE(policies.ok());
  return *policies;
}

TEST_CASE("ParseStudyPolicies: each is what its flags say") {
  const auto policies = Parsed("round,round:7,bound:3,bound:-1,max_delay:16,bound:2+max_delay:9+scale,scale");
  REQUIRE(policies.size() == 7);
  CHECK(policies[0].flags == "--aggregation=round");
  CHECK(policies[0].policy.aggregation() == v1::ROUND);
  CHECK(policies[0].policy.staleness_bound() == 0);
  CHECK(policies[0].policy.round_quorum() == 0);
  CHECK(policies[0].policy.max_delay() == -1);
  CHECK(policies[1].flags == "--aggregation=round --round_quorum=7");
  CHECK(policies[1].policy.round_quorum() == 7);
  CHECK(policies[2].flags == "--staleness_bound=3");
  CHECK(policies[2].policy.aggregation() == v1::EACH);
  CHECK(policies[2].policy.staleness_bound() == 3);
  CHECK(policies[2].policy.max_delay() == -1);
  CHECK(policies[3].policy.staleness_bound() == -1);
  CHECK(policies[4].flags == "--staleness_bound=-1 --max_delay=16");
  CHECK(policies[4].policy.max_delay() == 16);
  CHECK(policies[4].policy.delay_policy() == v1::APPLY);
  CHECK(policies[5].flags == "--staleness_bound=2 --max_delay=9 --delay_policy=scale");
  CHECK(policies[5].policy.staleness_bound() == 2);
  CHECK(policies[5].policy.delay_policy() == v1::SCALE);
  CHECK(policies[6].policy.staleness_bound() == -1);
  const auto grows = Parsed("max_delay:sqrt+scale");
  CHECK(grows[0].flags == "--staleness_bound=-1 --max_delay=sqrt --delay_policy=scale");
  CHECK(grows[0].policy.max_delay() == 1);
  CHECK(grows[0].policy.max_delay_sqrt());
  CHECK_FALSE(policies[4].policy.max_delay_sqrt());
  const auto dc = Parsed("dc,bound:3+dc:0.5+max_delay:9");
  CHECK(dc[0].flags == "--staleness_bound=-1 --delay_policy=dc --dc_lambda=0.04");
  CHECK(dc[0].policy.dc_lambda() == 0.04);
  CHECK(dc[1].flags == "--staleness_bound=3 --max_delay=9 --delay_policy=dc --dc_lambda=0.5");
  CHECK(dc[1].policy.dc_lambda() == 0.5);
  CHECK(policies[5].policy.dc_lambda() == 0);
  const auto rates = Parsed("round+rate:0.4,bound:3+rate:0.05,rate:1,round:2");
  CHECK(rates[0].flags == "--aggregation=round --learning_rate=0.4");
  CHECK(rates[0].policy.schedule().rate() == 0.4);
  CHECK(rates[1].policy.schedule().rate() == 0.05);
  CHECK(rates[1].policy.staleness_bound() == 3);
  CHECK(rates[2].policy.aggregation() == v1::EACH);
  CHECK(rates[3].policy.schedule().rate() == NeverWait().schedule().rate());
}

TEST_CASE("ParseStudyPolicies: nothing asks for the usual ones, sized by the workers") {
  CHECK(Parsed("").at(1).name == "round:7");
  CHECK(Parsed("").at(6).policy.max_delay() == 8);
  CHECK(Parsed("", 1).at(1).name == "bound:1");
}

TEST_CASE("ParseStudyPolicies: the policy that is wrong is named") {
  std::string many = "round";
  for (int i = 0; i < 32; ++i) many += ",round";
  std::vector<std::string> refused = {"rounds",
                                      "round:0",
                                      "round:9",
                                      "round:x",
                                      "round+max_delay:3",
                                      "3",
                                      "bound",
                                      "bound:-2",
                                      "bound:99999999999999999999",
                                      "max_delay:0",
                                      "max_delay:",
                                      "max_delay:-1",
                                      "max_delay:root",
                                      "scale:2",
                                      "scale+scale",
                                      "bound:1+bound:2",
                                      "bound:1,",
                                      "+",
                                      "rate:0",
                                      "rate:inf",
                                      "rate:2e6",
                                      "round+round",
                                      "round+scale",
                                      "round:3+bound:0",
                                      "dc:0",
                                      "dc:nan",
                                      "dc+dc:1",
                                      "dc+scale",
                                      "round+dc",
                                      "dc:"};
  refused.push_back(many);
  for (const std::string& text : refused) {
    CAPTURE(text);
    const auto policies = ParseStudyPolicies(text, 8, NeverWait());
    REQUIRE_FALSE(policies.ok());
    const std::string message(policies.status().message());
    CHECK(message.find("allowed: up to 32 of: round") != message.npos);
  }
}

}  // namespace
}  // namespace leeway
