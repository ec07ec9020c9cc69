// WaitBoard: the newest single waits of all workers, on the coordinator's time line, for `leeway why`.
//
// Workers tell them by their own clocks. A report shows the worker's clock when it was sent, and was sent before it
// came: of all reports of an incarnation the one that was quickest says best how far the clocks are apart, to within
// its way.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariant: bounded: kMost waits, one entry per worker id.
#pragma once

#include <cstdint>
#include <deque>
#include <map>

#include "common/clock.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class WaitBoard {
 public:
  static constexpr std::size_t kMost = 20000;
  static constexpr std::size_t kMostPerAnswer = 4000;  // some 100 KB
  // A worker has so much to tell in one report, and a wait so many to wait for; the rest of a hostile one is ignored.
  static constexpr int kMostPerReport = 4000;
  static constexpr int kMostWorkers = 64;
  static constexpr std::int64_t kOldestMicros = std::int64_t{3600} * 1000 * 1000;
  static constexpr std::int64_t kLatestMicros = std::int64_t{1} << 60;

  // A report of `worker`'s `incarnation` has come.
  void Add(Instant now, std::uint32_t worker, std::uint64_t incarnation, const v1::ReportProgressRequest& report);

  // What `request` wants, in time since `start`.
  void Fill(Instant start, const v1::GetStatusRequest& request, v1::GetStatusReply* reply) const;

 private:
  struct Source {
    std::uint64_t incarnation = 0;
    std::uint64_t next = 0;   // the number of its next wait
    std::int64_t offset = 0;  // of our clock to its, in microseconds
  };
  std::map<std::uint32_t, Source> sources_;
  std::deque<v1::WorkerWait> waits_;  // begin_micros by our clock
  std::uint64_t dropped_ = 0;         // from the front
};

}  // namespace leeway
