// RunSample: the run at one moment, in the few numbers that curves are made of.
//
// Thread safety: as a struct.
#pragma once

#include <cstdint>
#include <optional>

#include "proto/coordinator.pb.h"

namespace leeway {

struct RunSample {
  std::uint64_t steps = 0;
  std::uint64_t samples = 0;
  double rate = 0;                           // learning rate, before a group's factor
  std::optional<v1::LossPoint> training;     // the newest
  std::optional<v1::Evaluation> evaluation;  // the newest
  std::uint64_t live_workers = 0;
  v1::ShardStats stats;  // of shard 0; but for bytes, which are of all shards
};

}  // namespace leeway
