// WaitsUnderWay: what members wait for at this moment, as their newest heartbeats say.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariant: bounded whoever sends it: kMost waits of a member, in each kMostWorkers workers and two texts of kLongest
// bytes, which are printable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class WaitsUnderWay {
 public:
  static constexpr int kMost = 4;
  static constexpr int kMostWorkers = 8;
  static constexpr std::size_t kLongest = 200;
  static constexpr std::size_t kLongestAddress = 100;

  // A heartbeat of a member has come; its incarnation's heartbeats may overtake one another.
  void Hear(Instant now, const v1::HeartbeatRequest& heartbeat);
  // It is no member any more.
  void Forget(std::uint32_t worker) { members_.erase(worker); }

  // Its waits, as long as they have lasted by now.
  void Fill(Instant now, v1::WorkerStatus* worker) const;
  // Zero: it has told of none.
  absl::Duration Longest(Instant now, std::uint32_t worker) const;

 private:
  struct Member {
    std::uint64_t incarnation = 0;
    std::uint64_t number = 0;  // of the heartbeat that the waits are from
    Instant heard;
    std::vector<v1::WaitUnderWay> waits;
  };
  std::map<std::uint32_t, Member> members_;
};

}  // namespace leeway
