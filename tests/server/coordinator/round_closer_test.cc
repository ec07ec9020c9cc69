#include "server/coordinator/round_closer.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

v1::ReportRoundRequest ReportOf(std::uint64_t round, const std::vector<v1::RoundContribution>& whole) {
  v1::ReportRoundRequest report;
  report.set_round(round);
  for (const v1::RoundContribution& contribution : whole) *report.add_complete() = contribution;
  return report;
}

v1::RoundContribution Gives(std::uint32_t rank, std::uint64_t samples, bool usable = true) {
  v1::RoundContribution contribution;
  contribution.set_rank(rank);
  contribution.set_samples(samples);
  contribution.set_usable(usable);
  return contribution;
}

std::vector<std::uint32_t> RanksOf(const v1::RoundClose& close) { return {close.ranks().begin(), close.ranks().end()}; }

TEST_CASE("RoundCloser: closes when every expected push is whole on every shard, ranks ascending") {
  RoundCloser closer(2, 0);
  closer.Report(0, ReportOf(0, {Gives(2, 8), Gives(0, 4)}));
  closer.Report(1, ReportOf(0, {Gives(0, 4)}));
  CHECK_FALSE(closer.TryClose({0, 2}));
  CHECK(closer.Missing({0, 2}) == std::vector<std::uint32_t>{2});
  closer.Report(1, ReportOf(1, {Gives(2, 8)}));  // another round: ignored
  CHECK_FALSE(closer.TryClose({0, 2}));
  closer.Report(1, ReportOf(0, {Gives(2, 8), Gives(0, 4)}));
  const auto close = closer.TryClose({0, 2});
  REQUIRE(close);
  CHECK(close->round() == 0);
  CHECK(RanksOf(*close) == std::vector<std::uint32_t>{0, 2});
  CHECK(close->samples() == 12);
  CHECK(closer.open_round() == 1);
  CHECK_FALSE(closer.TryClose({0, 2}));
}

TEST_CASE("RoundCloser: a refused push counts as given and adds nothing, on whichever shard it was refused") {
  RoundCloser closer(2, 0);
  closer.Report(0, ReportOf(0, {Gives(0, 4), Gives(1, 4)}));
  closer.Report(1, ReportOf(0, {Gives(0, 4), Gives(1, 4, false)}));
  const auto close = closer.TryClose({0, 1});
  REQUIRE(close);
  CHECK(RanksOf(*close) == std::vector<std::uint32_t>{0});
  CHECK(close->samples() == 4);
}

TEST_CASE("RoundCloser: without anyone expected no round closes; a leaver's whole push still counts") {
  RoundCloser closer(1, 0);
  CHECK_FALSE(closer.TryClose({}));
  closer.Report(0, ReportOf(0, {Gives(0, 4), Gives(1, 2)}));
  const auto close = closer.TryClose({1});  // rank 0 has left
  REQUIRE(close);
  CHECK(RanksOf(*close) == std::vector<std::uint32_t>{0, 1});
}

TEST_CASE("RoundCloser: who has left owes the rounds that it pushed to, for some time or while its push is there") {
  const Instant until = Instant() + absl::Seconds(10);
  const Instant before = until - absl::Seconds(1);
  using Ranks = std::set<std::uint32_t>;
  RoundCloser closer(1, 0);
  closer.Leave(0, 0, until);  // it has pushed to none
  closer.Leave(1, 1, until);
  closer.Leave(2, 2, until);
  CHECK(closer.Owed(before) == Ranks{1, 2});
  CHECK(closer.Owed(until).empty());
  closer.Report(0, ReportOf(0, {Gives(2, 4)}));
  CHECK(closer.Owed(until) == Ranks{2});
  REQUIRE(closer.TryClose(closer.Owed(until)));
  CHECK(closer.Owed(before) == Ranks{2});
  closer.Abandon();
  CHECK(closer.Owed(before).empty());
}

TEST_CASE("RoundCloser: random reports, deaths and quorums agree with the definition") {
  Random random(TestSeed());
  int closed = 0;
  for (int run = 0; run < 50; ++run) {
    const auto shards = static_cast<std::uint32_t>(random.Between(1, 3));
    const auto quorum = static_cast<std::uint32_t>(random.Below(4));
    RoundCloser closer(shards, quorum);
    std::set<std::uint32_t> expected = {0, 1, 2, 3};
    std::map<std::uint32_t, std::map<std::uint32_t, v1::RoundContribution>> reported;  // shard -> rank
    for (int step = 0; step < 200; ++step) {
      const auto shard = static_cast<std::uint32_t>(random.Below(shards));
      const auto rank = static_cast<std::uint32_t>(random.Below(4));
      if (random.Chance(0.02)) expected.erase(rank);
      if (random.Chance(0.05)) expected.insert(rank);
      if (random.Chance(0.1)) {
        closer.Report(shard, ReportOf(closer.open_round() + 1, {Gives(rank, 1)}));  // ignored
      } else if (reported[shard].count(rank) == 0) {
        reported[shard][rank] = Gives(rank, 1 + rank, random.Chance(0.9));
      }
      std::vector<v1::RoundContribution> list;
      for (const auto& [who, contribution] : reported[shard]) list.push_back(contribution);
      closer.Report(shard, ReportOf(closer.open_round(), list));

      std::vector<std::uint32_t> contributors;
      std::uint64_t samples = 0;
      std::size_t given = 0;
      for (std::uint32_t who = 0; who < 4; ++who) {
        bool whole = true;
        bool usable = true;
        for (std::uint32_t s = 0; s < shards; ++s) {
          whole = whole && reported[s].count(who) > 0;
          usable = usable && whole && reported[s][who].usable();
        }
        if (whole && expected.count(who) > 0) ++given;
        if (whole && usable) {
          contributors.push_back(who);
          samples += 1 + who;
        }
      }
      const std::size_t needed = quorum == 0 ? expected.size() : std::min<std::size_t>(quorum, expected.size());
      const auto close = closer.TryClose(expected);
      REQUIRE(close.has_value() == (!expected.empty() && given >= needed));
      if (!close) continue;
      ++closed;
      REQUIRE(RanksOf(*close) == contributors);
      REQUIRE(close->samples() == samples);
      reported.clear();
    }
  }
  CHECK(closed > 50);
}

}  // namespace
}  // namespace leeway
