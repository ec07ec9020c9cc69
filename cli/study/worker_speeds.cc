#include "cli/study/worker_speeds.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/hash.h"

namespace leeway {
namespace {

constexpr double kUnasked = 0.02;  // jitter
constexpr double kMostJitter = 0.3;
constexpr double kShortest = 0.01;  // of a step: a normal distribution has no least value
constexpr double kMostFactor = 1000;
constexpr double kMostSteps = 1e6;

absl::Status Refused(absl::string_view item) {
  return absl::InvalidArgumentError(absl::StrCat("\"", item, "\": allowed: ", kAllowedStragglers));
}

bool In(double value, double low, double high) { return value >= low && value <= high; }

// The numbers behind an item's name: none, or exactly so many. What is not given stays as it is.
bool Numbers(const std::vector<std::string>& parts, std::vector<double*> numbers) {
  if (parts.size() == 1) return true;
  if (parts.size() != 1 + numbers.size()) return false;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (!absl::SimpleAtod(parts[1 + i], numbers[i])) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Stragglers> ParseStragglers(const std::string& text) {
  Stragglers parsed;
  if (text == "none") return parsed;
  parsed.jitter = kUnasked;
  std::vector<std::string> items;
  for (const std::string& item : std::vector<std::string>(absl::StrSplit(text, ','))) {
    if (item == "mixed") {
      items.insert(items.end(), {"jitter", "transient", "persistent"});
    } else {
      items.push_back(item);
    }
  }
  std::set<std::string> seen;
  for (const std::string& item : items) {
    const std::vector<std::string> parts = absl::StrSplit(item, ':');
    bool good = seen.insert(parts[0]).second;  // none twice
    if (parts[0] == "jitter") {
      parsed.jitter = 0.1;
      good &= Numbers(parts, {&parsed.jitter}) && In(parsed.jitter, 0, kMostJitter);
    } else if (parts[0] == "transient") {
      parsed.slow_steps = 0.05;
      parsed.slow_step_factor = 5;
      good &= Numbers(parts, {&parsed.slow_steps, &parsed.slow_step_factor}) && In(parsed.slow_steps, 0, 1) &&
              In(parsed.slow_step_factor, 1, kMostFactor);
    } else if (parts[0] == "persistent") {
      parsed.slow_workers = 0.125;
      parsed.slow_worker_factor = 4;
      good &= Numbers(parts, {&parsed.slow_workers, &parsed.slow_worker_factor}) && In(parsed.slow_workers, 0, 1) &&
              In(parsed.slow_worker_factor, 1, kMostFactor);
    } else if (parts[0] == "deaths") {
      parsed.life = 500;
      parsed.away = 50;
      good &= Numbers(parts, {&parsed.life, &parsed.away}) && In(parsed.life, 1, kMostSteps) &&
              In(parsed.away, 0, kMostSteps);
    } else {
      good = false;
    }
    if (!good) return Refused(item);
  }
  return parsed;
}

WorkerSpeeds::WorkerSpeeds(const Stragglers& stragglers, std::uint32_t workers, double step_seconds, std::uint64_t seed)
    : stragglers_(stragglers), step_seconds_(step_seconds), seed_(seed) {
  if (stragglers.slow_workers > 0) {
    slow_workers_ = std::max(1u, static_cast<std::uint32_t>(std::lround(stragglers.slow_workers * workers)));
  }
}

double WorkerSpeeds::StepSeconds(std::uint32_t rank, std::uint64_t step) const {
  const std::uint64_t random = HashCombine(HashCombine(seed_, rank), step);
  // Box and Muller's transform.
  const double radius = std::sqrt(-2 * std::log1p(-UnitUniform(Mix64(random))));
  const double normal = radius * std::cos(2 * M_PI * UnitUniform(Mix64(random + 1)));
  const double slow_step = UnitUniform(random) < stragglers_.slow_steps ? stragglers_.slow_step_factor : 1;
  const double slow_worker = rank < slow_workers_ ? stragglers_.slow_worker_factor : 1;
  return step_seconds_ * std::max(kShortest, 1 + stragglers_.jitter * normal) * slow_step * slow_worker;
}

double WorkerSpeeds::LifeSeconds(std::uint32_t rank, std::uint64_t life) const {
  const std::uint64_t random = HashCombine(HashCombine(Mix64(seed_), rank), life);
  return step_seconds_ * stragglers_.life * -std::log1p(-UnitUniform(random));  // the exponential's inverse
}

}  // namespace leeway
