#include "kernels/schedule.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/exact_math.h"

namespace leeway {
namespace {

// As FlagError: a person has given a flag.
template <typename T>
absl::Status Refuse(const char* flag, T value, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": allowed: ", allowed));
}

}  // namespace

// Every comparison is written so that NaN fails it.
absl::Status CheckSchedule(const v1::ScheduleConfig& config) {
  if (!(config.rate() > 0 && config.rate() <= 1e6))
    return Refuse("learning_rate", config.rate(), "above 0, at most 1e6");
  switch (config.kind()) {
    case v1::ScheduleConfig::CONSTANT:
      return absl::OkStatus();
    case v1::ScheduleConfig::STEP:
      if (config.step_samples() == 0) return Refuse("schedule_step_samples", 0, "1 and above with --schedule=step");
      if (!(config.gamma() > 0 && config.gamma() <= 1))
        return Refuse("schedule_gamma", config.gamma(), "above 0, at most 1");
      return absl::OkStatus();
    case v1::ScheduleConfig::COSINE:
      if (config.total_samples() <= config.warmup_samples()) {
        return Refuse("schedule_total_samples", config.total_samples(),
                      absl::StrCat("above --warmup_samples=", config.warmup_samples(), " with --schedule=cosine"));
      }
      if (!(config.final_rate() >= 0 && config.final_rate() <= config.rate())) {
        return Refuse("final_learning_rate", config.final_rate(), absl::StrCat("0 to --learning_rate=", config.rate()));
      }
      return absl::OkStatus();
    default:
      return Refuse("schedule", static_cast<int>(config.kind()), "0 (constant), 1 (step), 2 (cosine)");
  }
}

double RateAt(const v1::ScheduleConfig& config, std::uint64_t samples) {
  if (samples < config.warmup_samples()) {
    return config.rate() * (static_cast<double>(samples) / static_cast<double>(config.warmup_samples()));
  }
  const std::uint64_t since_warmup = samples - config.warmup_samples();
  switch (config.kind()) {
    case v1::ScheduleConfig::STEP:
      return config.rate() * IntegerPower(config.gamma(), since_warmup / config.step_samples());
    case v1::ScheduleConfig::COSINE: {
      const std::uint64_t length = config.total_samples() - config.warmup_samples();
      const double done = static_cast<double>(std::min(since_warmup, length)) / static_cast<double>(length);
      return config.final_rate() + (config.rate() - config.final_rate()) * 0.5 * (1.0 + CosPi(done));
    }
    default:
      return config.rate();
  }
}

}  // namespace leeway
