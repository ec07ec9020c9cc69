// throughput_sim_main: what the simulation of `leeway study` predicts for a paced cluster. The flags are those of
// `leeway run`, the random slow steps and extra times those that its workers would draw from the same --seed. Prints
// JSON.
#include <cstdio>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/study/simulation.h"
#include "common/flags.h"
#include "common/hash.h"
#include "nlohmann/json.hpp"
#include "worker/trainer/pacer.h"

ABSL_FLAG(uint32_t, num_workers, 4, "1 to 4096");
ABSL_FLAG(std::string, aggregation, "each", "each or round");
ABSL_FLAG(int64_t, staleness_bound, -1, "not used in rounds");
ABSL_FLAG(uint32_t, round_quorum, 0, "0 (all) to num_workers; of rounds");
ABSL_FLAG(int32_t, pipeline_depth, 0, "0 to 14; 0 in rounds and at bound 0");
ABSL_FLAG(uint64_t, steps, 10000, "the end: accepted pushes, or rounds; 1 to 100 million");
ABSL_FLAG(uint64_t, seed, 1, "the cluster's");
ABSL_FLAG(absl::Duration, pace, absl::Milliseconds(100), "step time, above 0s");
ABSL_FLAG(double, jitter, 0, "mean random extra time of a step, in paces");
ABSL_FLAG(std::string, slow_steps, "", "FRACTION:FACTOR, as 0.05:5");
ABSL_FLAG(leeway::NameValues, straggle, {}, "worker:factor,...");
ABSL_FLAG(absl::Duration, message, absl::ZeroDuration(),
          "time that each of a push, its verdict, a pull and its weights takes");

namespace leeway {
namespace {

absl::Status Run() {
  SimOptions options;
  options.workers = absl::GetFlag(FLAGS_num_workers);
  if (options.workers < 1 || options.workers > 4096) {
    return FlagError("num_workers", absl::StrCat(options.workers), "1 to 4096");
  }
  const std::string aggregation = absl::GetFlag(FLAGS_aggregation);
  if (aggregation != "each" && aggregation != "round") return FlagError("aggregation", aggregation, "each, round");
  const bool round = aggregation == "round";
  const std::int64_t bound = round ? 0 : absl::GetFlag(FLAGS_staleness_bound);
  if (bound < -1) return FlagError("staleness_bound", absl::StrCat(bound), "-1, 0 and above");
  options.policy = NeverWait();
  options.policy.set_aggregation(round ? v1::ROUND : v1::EACH);
  options.policy.set_staleness_bound(bound);
  const std::uint32_t quorum = absl::GetFlag(FLAGS_round_quorum);
  if (quorum > (round ? options.workers : 0)) {
    return FlagError("round_quorum", absl::StrCat(quorum), "0 to num_workers; 0 without rounds");
  }
  options.policy.set_round_quorum(quorum);
  options.depth = absl::GetFlag(FLAGS_pipeline_depth);
  if (options.depth < 0 || options.depth > (bound == 0 ? 0 : 14)) {
    return FlagError("pipeline_depth", absl::StrCat(options.depth), "0 to 14; 0 in rounds and at bound 0");
  }
  const std::uint64_t steps = absl::GetFlag(FLAGS_steps);
  if (steps < 1 || steps > 100'000'000) return FlagError("steps", absl::StrCat(steps), "1 to 100 million");
  options.pushes = steps * (!round ? 1 : quorum > 0 ? quorum : options.workers);
  const absl::Duration message = absl::GetFlag(FLAGS_message);
  if (message < absl::ZeroDuration() || message > absl::Hours(1)) {
    return FlagError("message", absl::FormatDuration(message), "0s to 1h");
  }
  options.message_seconds = absl::ToDoubleSeconds(message);

  Pacer::Options pace;
  pace.pace = absl::GetFlag(FLAGS_pace);
  if (pace.pace <= absl::ZeroDuration() || pace.pace > absl::Hours(1)) {
    return FlagError("pace", absl::FormatDuration(pace.pace), "above 0s, to 1h");
  }
  pace.jitter = absl::GetFlag(FLAGS_jitter);
  if (!(pace.jitter >= 0 && pace.jitter <= 1e6)) return FlagError("jitter", absl::StrCat(pace.jitter), "0 to 1e6");
  const absl::StatusOr<SlowSteps> slow = ParseSlowSteps(absl::GetFlag(FLAGS_slow_steps));
  if (!slow.ok()) return FlagError("slow_steps", absl::GetFlag(FLAGS_slow_steps), "FRACTION:FACTOR, as 0.05:5");
  pace.slow_steps = *slow;
  std::vector<Pacer::Options> paces(options.workers, pace);
  for (std::uint32_t rank = 0; rank < options.workers; ++rank) {
    paces[rank].seed = HashCombine(absl::GetFlag(FLAGS_seed), rank);
  }
  const NameValues straggle = absl::GetFlag(FLAGS_straggle);
  for (const auto& [who, factor] : straggle.items) {
    std::uint32_t rank = 0;
    if (!absl::SimpleAtoi(who, &rank) || rank >= options.workers || !(factor >= 1 && factor <= 1e6)) {
      return FlagError("straggle", AbslUnparseFlag(straggle),
                       absl::StrCat("worker:factor, a worker below ", options.workers, ", a factor in [1, 1e6]"));
    }
    paces[rank].straggle = factor;
  }
  std::vector<Pacer> pacers(paces.begin(), paces.end());
  options.step_seconds = [&pacers](std::uint32_t rank, std::uint64_t step) {
    return absl::ToDoubleSeconds(pacers[rank].Rest(step, absl::ZeroDuration()));
  };

  const SimResult result = Simulate(options);
  nlohmann::ordered_json json;
  json["seconds"] = result.seconds;
  json["accepted_pushes"] = result.pushes;
  json["accepted_pushes_per_second"] = result.PushesPerSecond();
  json["blocked_share"] = result.BlockedShare();
  json["mean_gap"] = result.gap.Mean();
  json["max_gap"] = result.max_gap;
  json["mean_delay"] = result.delay.Mean();
  json["max_delay"] = result.delay.Max();
  std::printf("%s\n", json.dump(2).c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) {
  leeway::ParseFlags(argc, argv, "throughput_sim_main: predicts the speed of a paced cluster. Prints JSON.");
  if (const absl::Status status = leeway::Run(); !status.ok()) leeway::ExitWithError(status);
  return 0;
}
