#include "worker/trainer/work_source.h"

#include <map>
#include <random>
#include <set>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

WorkSource::Options Options(v1::Aggregation aggregation, v1::DataSharing sharing, std::uint64_t epochs) {
  WorkSource::Options options;
  options.policy.set_aggregation(aggregation);
  options.policy.set_data_sharing(sharing);
  options.policy.set_num_workers(3);
  options.policy.mutable_stop()->set_epochs(epochs);
  options.rank = 1;
  options.num_records = 100;
  options.samples_per_step = 8;
  return options;
}

TEST_CASE("StaticFeed against a model: every step is done once, or given up after its attempts") {
  std::mt19937_64 random(TestSeed());
  for (int run = 0; run < 50; ++run) {
    const std::uint64_t cursor = random() % 10;
    const std::uint64_t total = cursor + 1 + random() % 60;
    StaticFeed feed(cursor, total);
    std::set<std::uint64_t> out;
    std::map<std::uint64_t, int> failures;
    std::set<std::uint64_t> done;
    while (!feed.finished()) {
      const std::optional<std::uint64_t> next = random() % 2 == 0 ? feed.Next() : std::nullopt;
      if (next) {
        REQUIRE(*next >= cursor);
        REQUIRE(*next < total);
        REQUIRE(done.count(*next) == 0);
        REQUIRE(out.insert(*next).second);
        if (random() % 10 == 0) {
          out.erase(*next);
          feed.Return(*next);
        }
      } else if (!out.empty()) {
        const std::uint64_t step = *out.begin();
        out.erase(step);
        const bool applied = random() % 3 != 0;
        const bool last = !applied && ++failures[step] == StaticFeed::kAttempts;
        REQUIRE(feed.Settle(step, applied) == !last);
        if (applied || last) done.insert(step);
      }
      std::uint64_t prefix = cursor;
      while (done.count(prefix) > 0) ++prefix;
      REQUIRE(feed.done() == prefix);
    }
    REQUIRE(done.size() == total - cursor);
  }
}

TEST_CASE("Rounds: the batch is a function of the round; a rank without records has empty ones") {
  WorkSource::Options options = Options(v1::ROUND, v1::STATIC, 2);
  options.rounds_per_epoch = 7;  // rank 1 fills 5
  WorkSource source = WorkSource::Make(options).value();
  std::map<std::uint64_t, int> seen;
  for (std::uint64_t round = 0; round < 14; ++round) {
    Work work;
    REQUIRE_FALSE(source.finished(round));
    REQUIRE(source.Take(round, false, &work) == WorkSource::Answer::kWork);
    CHECK(work.batch.records.empty() == (round % 7 >= 5));
    for (const std::uint64_t record : work.batch.records) ++seen[record];
    const v1::CommitDataRequest commit = source.Settle(work, round, true, false);
    CHECK(commit.data_step() == round + 1);
    CHECK(commit.samples() == work.batch.records.size());
  }
  CHECK(source.finished(14));
  Work work;
  CHECK(source.Take(14, false, &work) == WorkSource::Answer::kFinished);
  CHECK(seen.size() == 33);
  for (const auto& [record, count] : seen) {
    CHECK(record % 3 == 1);
    CHECK(count == 2);
  }
}

TEST_CASE("STATIC with each: a refused step comes back, and data_step counts the prefix that is done") {
  WorkSource source = WorkSource::Make(Options(v1::EACH, v1::STATIC, 1)).value();  // 5 steps
  std::vector<Work> works(5);
  for (Work& work : works) REQUIRE(source.Take(0, false, &work) == WorkSource::Answer::kWork);
  Work none;
  CHECK(source.Take(5, false, &none) == WorkSource::Answer::kLater);
  CHECK(source.Settle(works[1], 1, true, false).data_step() == 0);
  const v1::CommitDataRequest refused = source.Settle(works[0], 0, false, false);
  CHECK(refused.data_step() == 0);
  CHECK_FALSE(refused.applied());
  CHECK(source.Settle(works[2], 2, true, true).data_step() == 0);  // partial: again
  for (int i : {3, 4}) source.Settle(works[static_cast<std::size_t>(i)], 4, true, false);
  Work again;
  REQUIRE(source.Take(5, false, &again) == WorkSource::Answer::kWork);
  CHECK(again.batch.records == works[0].batch.records);
  CHECK(source.Settle(again, 5, true, false).data_step() == 2);
  REQUIRE(source.Take(6, false, &again) == WorkSource::Answer::kWork);
  CHECK(source.Settle(again, 6, true, false).data_step() == 5);
  CHECK(source.finished(7));
}

TEST_CASE(
    "LEASED: asks for what is missing, gives full batches, short ones only when allowed, and hands back the rest") {
  WorkSource source = WorkSource::Make(Options(v1::EACH, v1::LEASED, 1)).value();
  Work work;
  CHECK(source.Take(0, false, &work) == WorkSource::Answer::kNeedsData);
  CHECK(source.missing() == 8);
  CHECK_FALSE(source.HasSome());
  v1::DataRange range;
  range.set_lease(1);
  range.set_begin(0);
  range.set_end(13);
  REQUIRE(source.Add(range).ok());
  REQUIRE(source.Take(0, false, &work) == WorkSource::Answer::kWork);
  CHECK(work.batch.records.size() == 8);
  const v1::CommitDataRequest commit = source.Settle(work, 0, false, false);
  REQUIRE(commit.ranges().size() == 1);
  CHECK(commit.ranges(0).end() == 8);
  CHECK_FALSE(commit.applied());
  CHECK(source.Take(1, false, &work) == WorkSource::Answer::kNeedsData);
  CHECK(source.missing() == 3);
  CHECK(source.HasSome());
  REQUIRE(source.Take(1, true, &work) == WorkSource::Answer::kWork);
  CHECK(work.batch.records.size() == 5);
  source.Return(work);
  range.set_lease(2);
  range.set_begin(20);
  range.set_end(22);
  REQUIRE(source.Add(range).ok());
  const std::vector<v1::DataRange> rest = source.TakeRemaining();
  REQUIRE(rest.size() == 2);
  CHECK(rest[0].begin() == 8);
  CHECK(rest[1].begin() == 20);
  range.set_end(1000);
  CHECK_FALSE(source.Add(range).ok());
}

TEST_CASE("Impossible shares are refused") {
  WorkSource::Options options = Options(v1::EACH, v1::STATIC, 1);
  options.rank = 3;
  CHECK_FALSE(WorkSource::Make(options).ok());
  options = Options(v1::EACH, v1::LEASED, 1);
  options.num_records = 0;
  CHECK_FALSE(WorkSource::Make(options).ok());
}

}  // namespace
}  // namespace leeway
