// The learning rate as a function of how many samples the cluster has trained on.
//
// After the warm-up (linear from 0 to `rate` over warmup_samples), with s = samples - warmup_samples:
//   CONSTANT  rate
//   STEP      rate * gamma ^ floor(s / step_samples)
//   COSINE    final_rate + (rate - final_rate) * (1 + cos(pi * s / (total_samples - warmup_samples))) / 2,
//             then final_rate (Loshchilov, Hutter 2017, SGDR, equation 5). total_samples includes the warm-up:
//             it is where training ends.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "proto/policy.pb.h"

namespace leeway {

// INVALID_ARGUMENT naming the flag, its value and what is allowed.
absl::Status CheckSchedule(const v1::ScheduleConfig& config);

// The rate of an update made when `samples` samples have been trained on. The same bits on every machine.
// Requires CheckSchedule(config).ok().
double RateAt(const v1::ScheduleConfig& config, std::uint64_t samples);

}  // namespace leeway
