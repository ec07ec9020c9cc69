// Pacer: makes a worker slower on purpose, so that staleness can be seen and studied on one machine.
//
// A step that computed for t seconds is made to take
//   max(t, pace) * straggle * (slow_factor in a fraction slow_fraction of the steps)
// seconds, plus a random extra of mean jitter * pace (of jitter * t without a pace), exponentially distributed.
// The gradient leaves at the end of that time. What is random is a pure function of (seed, step).
//
// Thread safety: immutable after construction. Time is a parameter.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace leeway {

// Every step, with probability `fraction`, is `factor` times slower.
struct SlowSteps {
  double fraction = 0;  // [0, 1]
  double factor = 1;    // >= 1
};

// "0.05:5"; "" is none. INVALID_ARGUMENT says what is allowed.
absl::StatusOr<SlowSteps> ParseSlowSteps(const std::string& text);

class Pacer {
 public:
  struct Options {
    absl::Duration pace;  // >= 0
    double jitter = 0;    // >= 0
    double straggle = 1;  // >= 1
    SlowSteps slow_steps;
    std::uint64_t seed = 0;
  };

  explicit Pacer(const Options& options) : options_(options) {}

  // False: no step is ever made slower.
  bool active() const;

  // How much longer step `step` has to last after it has computed for `computed`.
  absl::Duration Rest(std::uint64_t step, absl::Duration computed) const;

 private:
  Options options_;
};

}  // namespace leeway
