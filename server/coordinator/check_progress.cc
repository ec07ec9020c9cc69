#include "server/coordinator/check_progress.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"

namespace leeway {
namespace {

// 30,000 years.
constexpr double kMostSeconds = 1e12;
// Of WaitTotal: what a newer worker may have beside those of this version.
constexpr std::size_t kMostKinds = 32;

absl::Status Wrong(const char* what, double value) {
  return absl::InvalidArgumentError(absl::StrCat("progress: ", what, " is ", value));
}

bool IsTime(double seconds) { return seconds >= 0 && seconds <= kMostSeconds; }  // false for NaN

absl::Status CheckSeconds(const v1::Progress& progress) {
  const v1::PhaseSeconds& phases = progress.seconds();
  for (const double seconds : {phases.data(), phases.pull(), phases.compute(), phases.push(), phases.blocked(),
                               phases.paced(), progress.exposed_seconds(), progress.hidden_seconds()}) {
    if (!IsTime(seconds)) return Wrong("a number of seconds", seconds);
  }
  return absl::OkStatus();
}

absl::Status CheckWaits(const v1::Progress& progress, std::uint32_t num_shards, std::size_t most_workers) {
  const std::size_t most = kMostKinds * num_shards + 2 * most_workers;
  const auto blocked = static_cast<std::size_t>(progress.blocked_on_size());
  const auto waits = static_cast<std::size_t>(progress.waits_size());
  if (blocked > most_workers)
    return Wrong("the number of workers that it was blocked on", static_cast<double>(blocked));
  if (waits > most) return Wrong("the number of totals of waits", static_cast<double>(waits));
  for (const v1::BlockedOn& on : progress.blocked_on()) {
    if (on.worker_id() >= most_workers) return Wrong("a worker that it was blocked on", on.worker_id());
    if (!IsTime(on.seconds())) return Wrong("a number of seconds blocked", on.seconds());
  }
  for (const v1::WaitTotal& wait : progress.waits()) {
    if (wait.has_shard() && wait.shard() >= num_shards) return Wrong("a shard that it waited for", wait.shard());
    if (wait.has_worker() && wait.worker() >= most_workers) return Wrong("a worker that it waited for", wait.worker());
    if (!IsTime(wait.seconds())) return Wrong("a number of seconds waited", wait.seconds());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckProgress(const v1::Progress& progress, std::uint32_t num_shards, std::size_t most_workers) {
  if (PrintableUtf8(progress.device(), kLongestDevice) != progress.device()) {
    return absl::InvalidArgumentError(absl::StrCat("progress: the device's name has ", progress.device().size(),
                                                   " bytes; allowed are ", kLongestDevice, " of printable UTF-8"));
  }
  RETURN_IF_ERROR(CheckSeconds(progress));
  return CheckWaits(progress, num_shards, most_workers);
}

}  // namespace leeway
