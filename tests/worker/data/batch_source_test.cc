#include "worker/data/batch_source.h"

#include <map>
#include <random>
#include <set>

#include "common/permutation.h"
#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using Catch::Contains;

StaticBatchSource Static(const StaticBatchSource::Options& options) {
  auto source = StaticBatchSource::Make(options);
  INFO(source.status());
  REQUIRE(source.ok());
  return *std::move(source);
}

std::string Error(const StaticBatchSource::Options& options) {
  return std::string(StaticBatchSource::Make(options).status().message());
}

v1::DataRange Range(std::uint64_t lease, std::uint64_t epoch, std::uint64_t begin, std::uint64_t end) {
  v1::DataRange range;
  range.set_lease(lease);
  range.set_epoch(epoch);
  range.set_begin(begin);
  range.set_end(end);
  return range;
}

TEST_CASE("Static batches: over all ranks, each record exactly once per epoch, and empty batches only at its end") {
  std::mt19937_64 random(TestSeed());
  for (int trial = 0; trial < 300; ++trial) {
    const std::uint64_t records = 1 + random() % 500;
    const std::uint32_t ranks = 1 + random() % 7;
    const std::uint64_t seed = random();
    std::vector<std::uint64_t> batch_sizes(ranks);
    for (auto& size : batch_sizes) size = 1 + random() % 64;
    std::uint64_t rounds = 1;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      rounds = std::max(rounds, (records / ranks + 1 + batch_sizes[rank] - 1) / batch_sizes[rank]);
    }
    for (std::uint64_t epoch : {0, 1, 5}) {
      std::set<std::uint64_t> seen;
      for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        const StaticBatchSource source = Static({records, rank, ranks, batch_sizes[rank], seed, rounds});
        REQUIRE(source.steps_per_epoch() == rounds);
        bool ended = false;
        for (std::uint64_t round = 0; round < rounds; ++round) {
          const RecordBatch batch = source.At(epoch * rounds + round);
          REQUIRE(batch.epoch == epoch);
          REQUIRE(batch.ranges.empty());
          REQUIRE(batch.records.size() <= batch_sizes[rank]);
          REQUIRE((!ended || batch.records.empty()));
          ended = batch.records.size() < batch_sizes[rank];
          for (std::uint64_t record : batch.records) {
            REQUIRE(record < records);
            REQUIRE(record % ranks == rank);
            REQUIRE(seen.insert(record).second);
          }
        }
      }
      REQUIRE(seen.size() == records);
    }
  }
}

TEST_CASE("Static batches: a pure function of seed, epoch, step and rank") {
  const StaticBatchSource::Options options{1000, 1, 3, 32, 42, 0};
  const StaticBatchSource a = Static(options), b = Static(options);
  CHECK(a.partition_size() == 333);
  CHECK(a.steps_per_epoch() == 11);
  for (std::uint64_t step : {40, 3, 10, 0, 3}) CHECK(a.At(step).records == b.At(step).records);
  CHECK(a.At(10).records.size() == 13);
  CHECK(a.At(11).epoch == 1);
  CHECK(a.At(0).records != a.At(11).records);
  StaticBatchSource::Options other = options;
  other.seed = 43;
  CHECK(a.At(0).records != Static(other).At(0).records);
  // Rounds in excess change when an epoch ends, not what is in it.
  other = options;
  other.rounds_per_epoch = 20;
  CHECK(Static(other).At(20).records == a.At(11).records);
  CHECK(Static(other).At(19).records.empty());
}

TEST_CASE("Static batches: ranks visit their records in different orders") {
  const StaticBatchSource a = Static({1000, 0, 2, 500, 7, 0}), b = Static({1000, 1, 2, 500, 7, 0});
  std::vector<std::uint64_t> first = a.At(0).records, second = b.At(0).records;
  for (auto& record : first) record /= 2;
  for (auto& record : second) record /= 2;
  CHECK(first != second);
}

TEST_CASE("Static batches: options that cannot work are refused") {
  CHECK_THAT(Error({10, 3, 3, 1, 0, 0}), Contains("rank is 3; with 3 ranks"));
  CHECK_THAT(Error({10, 0, 0, 1, 0, 0}), Contains("rank is 0; with 0 ranks"));
  CHECK_THAT(Error({10, 0, 2, 0, 0, 0}), Contains("batch size is 0"));
  CHECK_THAT(Error({10, 0, 2, 2, 0, 2}), Contains("2 rounds per epoch; rank 0 needs 3 for its 5 records"));
  CHECK_THAT(Error({2, 2, 3, 1, 0, 0}), Contains("rank 2 of 3 has no record: there are only 2"));
  const StaticBatchSource idle = Static({2, 2, 3, 1, 0, 4});
  CHECK(idle.At(9).records.empty());
  CHECK(idle.At(9).epoch == 2);
}

TEST_CASE("Leased batches: cut from ranges in order, never across epochs, each with its exact sub-ranges") {
  LeasedBatchSource source(100, 8, 5);
  CHECK_FALSE(source.Next().has_value());
  CHECK(source.missing() == 8);
  REQUIRE(source.Add(Range(1, 0, 10, 15)).ok());
  CHECK(source.missing() == 3);
  REQUIRE(source.Add(Range(2, 0, 50, 60)).ok());
  CHECK(source.missing() == 0);
  REQUIRE(source.Add(Range(3, 1, 0, 2)).ok());

  const auto first = source.Next();
  REQUIRE(first.has_value());
  REQUIRE(first->ranges.size() == 2);
  CHECK(first->ranges[0].SerializeAsString() == Range(1, 0, 10, 15).SerializeAsString());
  CHECK(first->ranges[1].SerializeAsString() == Range(2, 0, 50, 53).SerializeAsString());
  const Permutation order(100, 5, 0);
  std::vector<std::uint64_t> expected;
  for (std::uint64_t position : {10, 11, 12, 13, 14, 50, 51, 52}) expected.push_back(order.At(position));
  CHECK(first->records == expected);

  CHECK(source.missing() == 0);  // of 8 only 7 are there, but the next epoch follows
  const auto second = source.Next();
  REQUIRE(second.has_value());
  CHECK(second->epoch == 0);
  CHECK(second->records.size() == 7);
  CHECK(source.missing() == 6);

  const auto remaining = source.TakeRemaining();
  REQUIRE(remaining.size() == 1);
  CHECK(remaining[0].SerializeAsString() == Range(3, 1, 0, 2).SerializeAsString());
  CHECK_FALSE(source.Next().has_value());
}

TEST_CASE("Leased batches: a range that is empty or beyond the records is refused") {
  LeasedBatchSource source(100, 8, 5);
  for (const auto& [begin, end] : {std::pair<std::uint64_t, std::uint64_t>{5, 5}, {6, 5}, {99, 101}, {0, ~0ull}}) {
    const absl::Status status = source.Add(Range(9, 0, begin, end));
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Contains("lease 9 is the range ["));
  }
  CHECK(source.missing() == 8);
  REQUIRE(source.Add(Range(9, 0, 99, 100)).ok());
}

// A model of the coordinator: it deals out ranges of random sizes, takes some back, deals them out again.
TEST_CASE("Leased batches: whatever the leases, each record is in exactly one batch per epoch") {
  std::mt19937_64 random(TestSeed());
  for (int trial = 0; trial < 200; ++trial) {
    const std::uint64_t records = 1 + random() % 400;
    const std::uint64_t seed = random();
    const std::uint64_t epochs = 3;
    std::vector<LeasedBatchSource> workers;
    std::vector<std::uint64_t> batch_sizes;
    for (int i = 0; i <= trial % 4; ++i) {
      batch_sizes.push_back(1 + random() % 40);
      workers.emplace_back(records, batch_sizes.back(), seed);
    }
    std::deque<v1::DataRange> undealt;
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) undealt.push_back(Range(0, epoch, 0, records));
    std::uint64_t lease = 0, outstanding = 0;
    std::map<std::uint64_t, std::set<std::uint64_t>> seen;
    while (!undealt.empty() || outstanding > 0) {
      const std::size_t worker = random() % workers.size();
      LeasedBatchSource& source = workers[worker];
      if (random() % 3 != 0 && !undealt.empty()) {
        v1::DataRange& front = undealt.front();
        const std::uint64_t end = std::min(front.end(), front.begin() + 1 + random() % 50);
        REQUIRE(source.Add(Range(++lease, front.epoch(), front.begin(), end)).ok());
        outstanding += end - front.begin();
        front.set_begin(end);
        if (front.begin() == front.end()) undealt.pop_front();
      } else if (random() % 10 == 0) {
        for (v1::DataRange& range : source.TakeRemaining()) {
          outstanding -= range.end() - range.begin();
          undealt.push_front(range);
        }
      } else {
        const bool whole = source.missing() == 0;
        const std::optional<RecordBatch> batch = source.Next();
        if (!batch.has_value()) continue;
        REQUIRE(!batch->records.empty());
        REQUIRE(batch->records.size() <= batch_sizes[worker]);
        // Short only where missing() asked for more, or the next range is of another epoch.
        if (whole && batch->records.size() < batch_sizes[worker]) {
          const std::vector<v1::DataRange> rest = source.TakeRemaining();
          REQUIRE(rest.size() > 0);
          REQUIRE(rest.front().epoch() != batch->epoch);
          for (const v1::DataRange& range : rest) REQUIRE(source.Add(range).ok());
        }
        const Permutation order(records, seed, batch->epoch);
        std::size_t next = 0;
        for (const v1::DataRange& range : batch->ranges) {
          REQUIRE(range.epoch() == batch->epoch);
          REQUIRE(range.begin() < range.end());
          for (std::uint64_t position = range.begin(); position < range.end(); ++position) {
            REQUIRE(next < batch->records.size());
            REQUIRE(batch->records[next++] == order.At(position));
          }
        }
        REQUIRE(next == batch->records.size());
        for (std::uint64_t record : batch->records) REQUIRE(seen[batch->epoch].insert(record).second);
        outstanding -= batch->records.size();
      }
    }
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) REQUIRE(seen[epoch].size() == records);
  }
}

}  // namespace
}  // namespace leeway
