#include "cli/bench/bench.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <utility>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/bench/bench_apply.h"
#include "cli/bench/bench_encode.h"
#include "cli/bench/bench_latency.h"
#include "cli/bench/bench_train.h"
#include "cli/bench/bench_transport.h"
#include "cli/output_flag.h"
#include "cli/signals.h"
#include "common/flags.h"
#include "common/log.h"
#include "common/status_macros.h"

ABSL_FLAG(int, bench_pairs, 5, "of leeway bench: rounds in which everything is measured side by side; medians count");
ABSL_FLAG(absl::Duration, bench_time, absl::ZeroDuration(),
          "of leeway bench: how long each thing is measured in each round; 0: as the bench chooses");
ABSL_FLAG(uint64_t, bench_elements, 16 << 20, "of leeway bench transport, apply, encode: float32 values");
ABSL_FLAG(std::vector<std::string>, bench_only, {},
          "of leeway bench transport, apply, encode: only these, such as raw_tcp.push,push; empty: all");
ABSL_FLAG(int, bench_batch, 128, "of leeway bench train: samples per step");
ABSL_FLAG(std::string, bench_model, "mlp", "of leeway bench train: the model, as the worker's --model");

ABSL_DECLARE_FLAG(std::string, data);
ABSL_DECLARE_FLAG(std::string, model);

namespace leeway {
namespace {

constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 30;

struct Setting {
  Turns turns;
  std::uint64_t elements = 0;
  RunOptions binaries;  // its directory is there
};

absl::StatusOr<std::vector<BenchRow>> Train(const Setting& setting) {
  BenchTrainOptions options;
  options.model = absl::GetFlag(FLAGS_bench_model);
  options.batch = absl::GetFlag(FLAGS_bench_batch);
  if (options.batch < 1) return FlagError("bench_batch", absl::StrCat(options.batch), "1 and above");
  options.data = absl::GetFlag(FLAGS_data);
  options.pairs = setting.turns.rounds;
  options.measure = setting.turns.time;
  options.binaries = setting.binaries;
  options.wait = setting.turns.wait;
  return BenchTrain(options);
}

absl::StatusOr<std::vector<BenchRow>> Transport(const Setting& setting) {
  return BenchTransport({setting.elements, setting.turns, setting.binaries});
}

absl::StatusOr<std::vector<BenchRow>> Apply(const Setting& setting) {
  return BenchApply(setting.elements, setting.turns);
}

absl::StatusOr<std::vector<BenchRow>> Encode(const Setting& setting) {
  return BenchEncode(setting.elements, setting.turns);
}

absl::StatusOr<std::vector<BenchRow>> Latency(const Setting& setting) {
  return BenchLatency(setting.binaries.directory, setting.turns);
}

struct Bench {
  const char* name;
  absl::Duration time;  // of one measurement, unless --bench_time says else
  absl::StatusOr<std::vector<BenchRow>> (*run)(const Setting& setting);
};

const std::vector<Bench>& Benches() {
  static const auto* benches = new std::vector<Bench>{
      {"transport", absl::Milliseconds(500), Transport},
      {"apply", absl::Milliseconds(200), Apply},
      {"encode", absl::Milliseconds(200), Encode},
      {"latency", absl::Seconds(1), Latency},
      {"train", absl::Seconds(5), Train},
  };
  return *benches;
}

absl::StatusOr<std::vector<BenchRow>> Measure(const Bench& bench) {
  Setting setting;
  setting.turns.rounds = absl::GetFlag(FLAGS_bench_pairs);
  setting.turns.time = absl::GetFlag(FLAGS_bench_time);
  setting.elements = absl::GetFlag(FLAGS_bench_elements);
  setting.turns.only = absl::GetFlag(FLAGS_bench_only);
  if (setting.turns.rounds < 1) return FlagError("bench_pairs", absl::StrCat(setting.turns.rounds), "1 and above");
  if (setting.turns.time < absl::ZeroDuration()) {
    return FlagError("bench_time", absl::FormatDuration(setting.turns.time), "0s and above");
  }
  if (setting.turns.time == absl::ZeroDuration()) setting.turns.time = bench.time;
  if (setting.elements < 1 || setting.elements > kMaxElements) {
    return FlagError("bench_elements", absl::StrCat(setting.elements), absl::StrCat("1 to ", kMaxElements));
  }
  // The flags of a run are checked with these; a bench has a training set of its own unless one is named.
  if (absl::GetFlag(FLAGS_data).empty()) absl::SetFlag(&FLAGS_data, BenchTrainOptions().data);
  absl::SetFlag(&FLAGS_model, absl::GetFlag(FLAGS_bench_model));
  ASSIGN_OR_RETURN(setting.binaries, RunOptionsFromFlags());
  char directory[] = "/tmp/leeway-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) return absl::UnavailableError("cannot make a directory in /tmp");
  setting.binaries.directory = directory;
  SignalWaiter signals;
  setting.turns.wait = [&signals](absl::Duration time) { return signals.Wait(time) == 0; };
  absl::StatusOr<std::vector<BenchRow>> rows = bench.run(setting);
  if (rows.ok() || absl::IsCancelled(rows.status())) std::filesystem::remove_all(directory);  // else the logs say why
  return rows;
}

}  // namespace

int RunBench(const std::vector<std::string>& what, int, char**) {
  const std::string names =
      absl::StrJoin(Benches(), ", ", [](std::string* out, const Bench& bench) { out->append(bench.name); });
  if (what.size() != 1) ExitWithError(absl::InvalidArgumentError("leeway bench takes one name: " + names));
  const absl::StatusOr<bool> json = WantsJson();
  if (!json.ok()) ExitWithError(json.status());
  for (const Bench& bench : Benches()) {
    if (bench.name != what[0]) continue;
    if (!FlagGiven("log_level")) spdlog::set_level(spdlog::level::warn);  // joining is no news here
    const absl::StatusOr<std::vector<BenchRow>> rows = Measure(bench);
    if (!rows.ok()) ExitWithError(rows.status());
    std::fputs((*json ? BenchJson(*rows) : BenchTable(*rows)).c_str(), stdout);
    return 0;
  }
  ExitWithError(absl::InvalidArgumentError(absl::StrCat("leeway bench ", what[0], ": allowed: ", names)));
}

}  // namespace leeway
