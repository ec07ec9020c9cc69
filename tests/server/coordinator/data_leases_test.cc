#include "server/coordinator/data_leases.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

using Holder = DataLeases::Holder;

v1::DataRange Part(const v1::DataRange& range, std::uint64_t begin, std::uint64_t end) {
  v1::DataRange part = range;
  part.set_begin(begin);
  part.set_end(end);
  return part;
}

// Workers that lease, commit in parts, are refused, give back and die, until all epochs are done; each record's
// commits are counted.
class Run {
 public:
  Run(std::uint64_t seed, const DataLeases::Config& config)
      : random_(seed),
        config_(config),
        leases_(config),
        commits_(config.epochs, std::vector<int>(config.num_records)) {}

  void ToTheEnd() {
    for (int step = 0; step < 1000000 && !leases_.done(); ++step) Step();
    REQUIRE(leases_.done());
    REQUIRE_FALSE(leases_.Acquire({9, 9}, 1));
    REQUIRE(leases_.epochs_done() == config_.epochs);
    REQUIRE(leases_.committed() == config_.epochs * config_.num_records);
    std::uint64_t applied = 0;
    for (const auto& epoch : commits_) {
      for (int count : epoch) {
        if (count > 1) FAIL("a record was committed " << count << " times");
        applied += static_cast<std::uint64_t>(count);
      }
    }
    // What is missing was given up, and said so.
    REQUIRE(applied + leases_.skipped() == config_.epochs * config_.num_records);
  }

  std::uint64_t skipped() const { return leases_.skipped(); }
  std::uint64_t again() const { return leases_.handed_out_again(); }

 private:
  void Step() {
    const auto worker = static_cast<std::uint32_t>(random_.Below(5));
    const Holder holder{worker, 1 + incarnation_[worker]};
    std::vector<v1::DataRange>& held = held_[worker];
    if (random_.Chance(0.02)) {
      leases_.GiveBackAll(holder);
      ++incarnation_[worker];
      dead_.insert(dead_.end(), held.begin(), held.end());
      held.clear();
      return;
    }
    if (!dead_.empty() && random_.Chance(0.02)) {
      // A dead worker's late commit, and a stranger's, change nothing.
      const v1::DataRange& range = dead_[random_.Below(dead_.size())];
      REQUIRE(leases_.Commit({worker, incarnation_[worker]}, range, true) == 0);
      REQUIRE(leases_.Commit({77, 1}, range, true) == 0);
      return;
    }
    if (held.empty() || random_.Chance(0.2)) {
      const std::uint64_t wanted = random_.Between(1, 40);
      if (const std::optional<v1::DataRange> range = leases_.Acquire(holder, wanted)) {
        REQUIRE(held.size() < config_.max_pieces);
        REQUIRE(range->begin() < range->end());
        REQUIRE(range->end() <= config_.num_records);
        REQUIRE(range->epoch() < config_.epochs);
        REQUIRE(range->end() - range->begin() <= wanted);
        if (config_.max_range > 0) REQUIRE(range->end() - range->begin() <= config_.max_range);
        held.push_back(*range);
      }
      return;
    }
    // The next part of the oldest lease: as a push does.
    v1::DataRange& range = held.front();
    const std::uint64_t end = range.begin() + random_.Between(1, range.end() - range.begin());
    const v1::DataRange part = Part(range, range.begin(), end);
    if (random_.Chance(0.05)) {
      range = GiveBackOneByOne(holder, range);
      return;
    }
    if (random_.Chance(0.05)) {
      leases_.GiveBack(holder, Part(range, range.begin(), range.end()));
      held.erase(held.begin());
      return;
    }
    const bool applied = random_.Chance(0.9);
    const std::uint64_t newly = leases_.Commit(holder, part, applied);
    if (newly != (applied ? end - part.begin() : 0)) FAIL("committed " << newly << " of " << end - part.begin());
    REQUIRE(leases_.Commit(holder, part, true) == 0);  // repeated: nothing
    if (applied) {
      for (std::uint64_t i = part.begin(); i < end; ++i) ++commits_[part.epoch()][i];
    }
    range.set_begin(end);
    if (range.begin() == range.end()) held.erase(held.begin());
  }

  // What takes its place: who asks for as many records gets them in one range.
  v1::DataRange GiveBackOneByOne(const Holder& holder, const v1::DataRange& range) {
    const std::uint64_t records = range.end() - range.begin();
    const bool backwards = random_.Chance(0.5);
    for (std::uint64_t i = 0; i < records; ++i) {
      const std::uint64_t at = backwards ? range.end() - 1 - i : range.begin() + i;
      leases_.GiveBack(holder, Part(range, at, at + 1));
    }
    const std::optional<v1::DataRange> again = leases_.Acquire(holder, records);
    REQUIRE(again);
    REQUIRE(again->end() - again->begin() == records);
    return *again;
  }

  Random random_;
  const DataLeases::Config config_;
  DataLeases leases_;
  std::map<std::uint32_t, std::uint64_t> incarnation_;
  std::map<std::uint32_t, std::vector<v1::DataRange>> held_;
  std::vector<v1::DataRange> dead_;
  std::vector<std::vector<int>> commits_;
};

TEST_CASE("DataLeases: each record of each epoch is committed exactly once, whatever dies") {
  std::uint64_t again = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Random random(TestSeed() + seed);
    DataLeases::Config config;
    config.num_records = random.Between(1, 700);
    config.epochs = random.Between(1, 4);
    config.max_range = random.Chance(0.5) ? 0 : random.Between(1, 64);
    config.max_retries = 1000;
    if (random.Chance(0.5)) config.max_pieces = random.Between(1, 4);
    Run run(TestSeed() + seed, config);
    run.ToTheEnd();
    CHECK(run.skipped() == 0);
    again += run.again();
  }
  CHECK(again > 0);
}

TEST_CASE("DataLeases: what is refused again and again is skipped, counted, and blocks nobody") {
  std::uint64_t skipped = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    DataLeases::Config config;
    config.num_records = 500;
    config.epochs = 2;
    config.max_retries = 0;
    Run run(TestSeed() + seed, config);
    run.ToTheEnd();
    skipped += run.skipped();
  }
  CHECK(skipped > 0);
}

TEST_CASE("DataLeases: a range is tried max_retries times more, then given up") {
  DataLeases leases({10, 1, 0, 2});
  const Holder holder{1, 1};
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto range = leases.Acquire(holder, 10);
    REQUIRE(range);
    CHECK(leases.Commit(holder, *range, false) == 0);
  }
  CHECK(leases.done());
  CHECK(leases.skipped() == 10);
  CHECK(leases.handed_out_again() == 2);
}

TEST_CASE("DataLeases: who has max_pieces gets no more before it has committed some, or has gone") {
  DataLeases leases({.num_records = 100, .epochs = 0, .max_pieces = 2});
  const auto first = leases.Acquire({1, 1}, 10);
  const auto second = leases.Acquire({1, 1}, 10);
  REQUIRE(first);
  REQUIRE(second);
  CHECK_FALSE(leases.Acquire({1, 1}, 10));
  CHECK(leases.Acquire({2, 1}, 10));
  // A part out of the middle leaves two pieces of the first.
  CHECK(leases.Commit({1, 1}, Part(*first, 4, 6), true) == 2);
  CHECK(leases.Commit({1, 1}, *second, true) == 10);
  CHECK_FALSE(leases.Acquire({1, 1}, 10));
  // Restored, it is the same.
  v1::DataLeasesState state;
  leases.Save(&state);
  DataLeases restored({.num_records = 100, .epochs = 0, .max_pieces = 2});
  REQUIRE(restored.Restore(state).ok());
  for (DataLeases* each : {&leases, &restored}) {
    CHECK_FALSE(each->Acquire({1, 1}, 10));
    CHECK(each->Commit({1, 1}, Part(*first, 0, 4), true) == 4);
    CHECK(each->Acquire({1, 1}, 10));
    CHECK_FALSE(each->Acquire({1, 1}, 10));
    each->GiveBackAll({1, 1});
    CHECK(each->Acquire({1, 1}, 10));
  }
}

TEST_CASE("DataLeases: who cuts what it has into ever more pieces is stopped at twice max_pieces") {
  DataLeases leases({.num_records = 100, .epochs = 0, .max_pieces = 2});
  const auto range = leases.Acquire({1, 1}, 20);
  REQUIRE(range);
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(leases.Commit({1, 1}, Part(*range, 2 * i + 1, 2 * i + 2), true) == 1);
  CHECK(leases.Commit({1, 1}, Part(*range, 9, 10), true) == 0);
  CHECK(leases.Commit({1, 1}, Part(*range, 9, 10), false) == 0);
  // What makes no more of them is committed, as ever.
  CHECK(leases.Commit({1, 1}, Part(*range, 0, 1), true) == 1);
  CHECK(leases.Commit({1, 1}, Part(*range, 9, 10), true) == 1);
  CHECK(leases.Commit({1, 1}, Part(*range, 0, 20), true) == 15);
  CHECK(leases.committed() == 20);
}

TEST_CASE("DataLeases: giving back is no failure, and goes out first") {
  DataLeases leases({100, 1, 0, 0});
  const auto range = leases.Acquire({1, 1}, 10);
  for (int i = 0; i < 5; ++i) {
    leases.GiveBack({1, 1}, *range);
    const auto back = leases.Acquire({1, 1}, 4);
    REQUIRE(back);
    CHECK(back->begin() == 0);
    CHECK(back->end() == 4);
    leases.GiveBack({1, 1}, *back);
    const auto all = leases.Acquire({1, 1}, 100);
    REQUIRE(all);
    leases.GiveBack({1, 1}, *all);
  }
  CHECK(leases.skipped() == 0);
}

TEST_CASE("DataLeases: what is handed back bit by bit goes out in one piece, before what was refused") {
  DataLeases leases({.num_records = 30, .epochs = 2, .max_retries = 3});
  const auto first = leases.Acquire({1, 1}, 10);
  const auto second = leases.Acquire({1, 1}, 10);
  const auto third = leases.Acquire({1, 1}, 10);
  const auto later = leases.Acquire({1, 1}, 10);
  REQUIRE(later);
  REQUIRE(later->epoch() == 1);
  for (std::uint64_t i = 10; i < 20; i += 5) CHECK(leases.Commit({1, 1}, Part(*second, i, i + 5), false) == 0);
  const auto refused = leases.Acquire({2, 1}, 100);
  REQUIRE(refused);
  CHECK(refused->begin() == 10);
  CHECK(refused->end() == 20);
  CHECK(leases.Commit({2, 1}, *refused, false) == 0);
  // Unused ones go first. They touch the refused ones, but have more tries left.
  for (const auto& range : {*third, *first}) {
    for (std::uint64_t i = range.begin(); i < range.end(); i += 2) leases.GiveBack({1, 1}, Part(range, i, i + 2));
  }
  leases.GiveBackAll({1, 1});
  const auto expect = [&leases](std::uint64_t epoch, std::uint64_t begin, std::uint64_t end) {
    const auto range = leases.Acquire({3, 1}, 100);
    REQUIRE(range);
    CHECK(range->epoch() == epoch);
    CHECK(range->begin() == begin);
    CHECK(range->end() == end);
  };
  expect(1, 0, 10);  // the lease of who has gone, in front of what it gave back before
  expect(0, 0, 10);
  expect(0, 20, 30);
  expect(0, 10, 20);
  expect(1, 10, 30);
}

TEST_CASE("DataLeases: the leases of who has gone go out as one") {
  DataLeases leases({.num_records = 30, .epochs = 2});
  for (int i = 0; i < 5; ++i) REQUIRE(leases.Acquire({1, 1}, 10));
  leases.GiveBackAll({1, 1});
  CHECK(leases.handed_out_again() == 5);
  const auto range = leases.Acquire({2, 1}, 100);
  REQUIRE(range);
  CHECK(range->end() - range->begin() == 20);  // never over epochs
  CHECK(leases.Acquire({2, 1}, 100)->end() == 30);
}

TEST_CASE("DataLeases: the next epoch is handed out while the tail of one is out; without an end there is one more") {
  DataLeases leases({10, 0, 0, 3});
  const auto first = leases.Acquire({1, 1}, 10);
  const auto second = leases.Acquire({2, 1}, 10);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(second->epoch() == 1);
  CHECK(leases.Commit({2, 1}, *second, true) == 10);
  CHECK(leases.epochs_done() == 0);  // in order
  CHECK(leases.Commit({1, 1}, *first, true) == 10);
  CHECK(leases.epochs_done() == 2);
  CHECK_FALSE(leases.done());
}

TEST_CASE("DataLeases: hostile parts change nothing") {
  DataLeases leases({10, 1, 0, 3});
  const auto range = leases.Acquire({1, 1}, 10);
  REQUIRE(range);
  CHECK(leases.Commit({1, 1}, Part(*range, 9, 3), true) == 0);
  CHECK(leases.Commit({1, 1}, Part(*range, 50, 60), true) == 0);
  v1::DataRange other = *range;
  other.set_epoch(7);
  CHECK(leases.Commit({1, 1}, other, true) == 0);
  CHECK(leases.Commit({1, 1}, Part(*range, 0, ~std::uint64_t{0}), true) == 10);
  CHECK(leases.done());
  CHECK_FALSE(leases.Acquire({1, 1}, 0));
}

}  // namespace
}  // namespace leeway
