#include "cli/bench/bench.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "cli/bench/bench_train.h"
#include "cli/signals.h"
#include "common/flags.h"

ABSL_FLAG(std::string, output, "table", "of leeway bench: table or json");
ABSL_FLAG(int, bench_pairs, 5, "of leeway bench: paired runs; the median counts");
ABSL_FLAG(absl::Duration, bench_time, absl::Seconds(5), "of leeway bench: how long each half of a pair is measured");
ABSL_FLAG(int, bench_batch, 128, "of leeway bench train: samples per step");
ABSL_FLAG(std::string, bench_model, "mlp", "of leeway bench train: the model, as the worker's --model");

ABSL_DECLARE_FLAG(std::string, data);

namespace leeway {
namespace {

absl::StatusOr<std::vector<BenchRow>> Measure(const std::string& what) {
  if (what != "train") return absl::InvalidArgumentError(absl::StrCat("leeway bench ", what, ": allowed: train"));
  BenchTrainOptions options;
  options.model = absl::GetFlag(FLAGS_bench_model);
  options.batch = absl::GetFlag(FLAGS_bench_batch);
  options.pairs = absl::GetFlag(FLAGS_bench_pairs);
  options.measure = absl::GetFlag(FLAGS_bench_time);
  if (options.pairs < 1) return FlagError("bench_pairs", absl::StrCat(options.pairs), "1 and above");
  if (options.batch < 1) return FlagError("bench_batch", absl::StrCat(options.batch), "1 and above");
  if (options.measure <= absl::ZeroDuration()) {
    return FlagError("bench_time", absl::FormatDuration(options.measure), "above 0s");
  }
  // The flags of a run are checked with these; a bench has a training set of its own unless one is named.
  if (absl::GetFlag(FLAGS_data).empty()) absl::SetFlag(&FLAGS_data, options.data);
  options.data = absl::GetFlag(FLAGS_data);
  absl::StatusOr<RunOptions> binaries = RunOptionsFromFlags();
  if (!binaries.ok()) return binaries.status();
  options.binaries = *std::move(binaries);
  char directory[] = "/tmp/leeway-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) return absl::UnavailableError("cannot make a directory in /tmp");
  options.binaries.directory = directory;
  SignalWaiter signals;
  options.wait = [&signals](absl::Duration time) { return signals.Wait(time) == 0; };
  absl::StatusOr<std::vector<BenchRow>> rows = BenchTrain(options);
  if (rows.ok()) std::filesystem::remove_all(directory);  // else the logs say why
  return rows;
}

}  // namespace

int RunBench(const std::vector<std::string>& what, int, char**) {
  if (what.size() != 1) ExitWithError(absl::InvalidArgumentError("leeway bench takes one name: train"));
  const std::string output = absl::GetFlag(FLAGS_output);
  if (output != "table" && output != "json") ExitWithError(FlagError("output", output, "table, json"));
  const absl::StatusOr<std::vector<BenchRow>> rows = Measure(what[0]);
  if (!rows.ok()) ExitWithError(rows.status());
  std::fputs((output == "json" ? BenchJson(*rows) : BenchTable(*rows)).c_str(), stdout);
  return 0;
}

}  // namespace leeway
