// WorkerSpeeds: how long each step of each worker takes in a study, and how long its processes live; from the seed.
//
// Thread safety: immutable after construction. What is random is a pure function of (seed, worker, step or life).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace leeway {

// In what ways workers differ. Times are in those of an undisturbed step.
struct Stragglers {
  double jitter = 0;  // standard deviation of a step's time (normal), [0, 0.3]
  // Of all steps this fraction is `slow_step_factor` times longer.
  double slow_steps = 0;  // [0, 1]
  double slow_step_factor = 1;
  // Of the workers this fraction (at least one, if it is not 0) is always `slow_worker_factor` times slower.
  double slow_workers = 0;  // [0, 1]
  double slow_worker_factor = 1;
  // The mean time that a process lives (exponentially distributed), 0: for ever; then none is there for `away`.
  double life = 0;
  double away = 0;
};

// "none", or what it is made of, as "jitter:0.1,persistent:0.125:4" (the flag's help lists it). Without "jitter" it is
// 2 %: workers that are exactly equal march in step, as no real ones do. INVALID_ARGUMENT says what is allowed.
absl::StatusOr<Stragglers> ParseStragglers(const std::string& text);
inline constexpr char kAllowedStragglers[] =
    "none, or a list of jitter[:DEVIATION up to 0.3], transient[:FRACTION:FACTOR], persistent[:FRACTION:FACTOR], "
    "deaths[:LIFE:AWAY], mixed (jitter,transient,persistent); fractions in [0, 1], factors in [1, 1000], lives of 1 to "
    "1e6 steps, times away of 0 to 1e6";

class WorkerSpeeds {
 public:
  WorkerSpeeds(const Stragglers& stragglers, std::uint32_t workers, double step_seconds, std::uint64_t seed);

  double StepSeconds(std::uint32_t rank, std::uint64_t step) const;
  double LifeSeconds(std::uint32_t rank, std::uint64_t life) const;  // requires stragglers.life > 0
  std::uint32_t slow_workers() const { return slow_workers_; }       // they have the lowest ranks

 private:
  const Stragglers stragglers_;
  const double step_seconds_;
  const std::uint64_t seed_;
  std::uint32_t slow_workers_ = 0;
};

}  // namespace leeway
