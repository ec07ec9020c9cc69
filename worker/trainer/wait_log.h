// WaitLog: what a training thread has waited for: totals for ever, single waits until they are reported.
//
// Thread safety: as an int: the training thread's. Time is a parameter.
// Invariant: bounded: kMost single waits; totals for kMostWorkers workers and for each shard and kind.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "common/clock.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class WaitLog {
 public:
  // Two seconds of steps of 2 ms with four waits each; reports leave every second. Of more the oldest are dropped.
  static constexpr std::size_t kMost = 4000;
  // So many workers have totals of their own; what the gates held back for others' sake is told together.
  static constexpr std::size_t kMostWorkers = 128;
  // The coordinator takes no single wait for more workers: it names the first ones. (The totals have all.)
  static constexpr int kMostOfOneWait = 64;
  // Shorter ones are in the totals only: a picture does not show them, and they would push the others out.
  static constexpr absl::Duration kShortest = absl::Microseconds(200);

  // `wait`: kind, shard, workers, clock. Nothing to note when it took no time.
  void Add(Instant begin, Instant end, v1::Wait wait);

  void AddTotals(v1::Progress* progress) const;

  // The waits since the last call, into `request`.
  void Take(Instant now, v1::ReportProgressRequest* request);

 private:
  struct Total {
    double seconds = 0;
    std::uint64_t count = 0;
  };
  // kind, shard, worker
  using Key = std::tuple<int, std::optional<std::uint32_t>, std::optional<std::uint32_t>>;
  void Count(const Key& key, double seconds);

  std::map<Key, Total> totals_;
  std::set<std::uint32_t> workers_;  // in totals_
  std::deque<v1::Wait> waits_;       // disjoint, in order: a thread waits for one thing at a time
  Instant last_end_;
  std::uint64_t taken_ = 0;  // and dropped
};

}  // namespace leeway
