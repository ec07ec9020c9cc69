#include "cli/bench/bench_train.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/cluster.h"
#include "cli/status_client.h"
#include "common/grpc_transport.h"
#include "common/status_macros.h"
#include "kernels/device.h"
#include "worker/data_for_model.h"
#include "worker/models/plain_loop.h"

namespace leeway {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(20);
constexpr double kRate = 0.01;

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Gathers the batch and trains on it, as a worker does; returns samples per second.
absl::StatusOr<double> PlainRate(const BenchTrainOptions& options, const Dataset& data, PlainLoop& loop) {
  std::vector<std::uint64_t> records(static_cast<std::size_t>(options.batch));
  std::uint64_t next = 0;
  const auto step = [&] {
    for (std::uint64_t& record : records) record = (next = (next + 7919) % data.num_records());
    if (data.has_tokens()) {
      data.Gather(records, loop.tokens(), loop.labels());
    } else {
      data.Gather(records, loop.features(), loop.labels());
    }
    return loop.Step().status();
  };
  for (int i = 0; i < 10; ++i) RETURN_IF_ERROR(step());  // warm up
  const double begin = Seconds();
  const double end = begin + absl::ToDoubleSeconds(options.measure);
  double steps = 0;
  double now = begin;
  for (; now < end; now = Seconds(), ++steps) RETURN_IF_ERROR(step());
  return steps * options.batch / (now - begin);
}

// Samples per second that the cluster trains, from when it has found its stride.
absl::StatusOr<double> ClusterRate(const BenchTrainOptions& options, int pair) {
  RunOptions run = options.binaries;
  run.num_ps = run.num_workers = 1;
  run.eval = false;
  run.directory = absl::StrCat(options.binaries.directory, "/", pair);
  const double seconds = absl::ToDoubleSeconds(options.measure);
  // Ends by itself also if this process dies: the measure, and time to start and be told to stop.
  run.ps_flags = {absl::StrCat("--minutes=", (seconds + 30) / 60), absl::StrCat("--learning_rate=", kRate)};
  run.worker_flags = {"--model=" + options.model,
                      "--data=" + options.data,
                      absl::StrCat("--batch=", options.batch),
                      "--device=cpu",
                      "--threads=1",
                      "--pipeline_depth=1"};
  std::error_code error;
  if (!std::filesystem::create_directories(run.directory, error)) {
    return absl::UnavailableError(absl::StrCat("cannot make ", run.directory, ": ", error.message()));
  }
  const std::unique_ptr<Transport> transport = MakeGrpcTransport();
  LocalCluster cluster(run);
  RETURN_IF_ERROR(cluster.Start(options.wait));
  StatusClient client(transport.get(), cluster.coordinator());
  std::optional<std::pair<double, std::uint64_t>> first;
  const double give_up = Seconds() + seconds + 25;
  while (Seconds() < give_up) {
    if (!options.wait(kPoll)) return absl::CancelledError("interrupted");
    ASSIGN_OR_RETURN(const auto ended, cluster.Reap(absl::Now()));
    if (!ended.empty()) {
      return absl::UnavailableError(absl::StrCat(ended[0].name, " ended early", cluster.LastLines(ended[0].name)));
    }
    const std::optional<v1::GetStatusReply> status = client.Take();
    client.Ask();
    // The first second warms up: connections, pages, clocks.
    if (!status || status->state() != v1::TRAINING || status->seconds() < 1) continue;
    if (!first) first.emplace(status->seconds(), status->samples());
    if (status->seconds() < first->first + seconds) continue;
    const double rate = static_cast<double>(status->samples() - first->second) / (status->seconds() - first->first);
    cluster.Stop(absl::Seconds(5), nullptr);
    return rate;
  }
  return absl::DeadlineExceededError(
      absl::StrCat("the cluster did not train for ", seconds, " s; logs in ", run.directory));
}

}  // namespace

absl::StatusOr<std::vector<BenchRow>> BenchTrain(const BenchTrainOptions& options) {
  ASSIGN_OR_RETURN(const Dataset data, LoadDataFor(options.model, options.data, Split::kTrain));
  ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend, MakeBackend("cpu", 1));
  const ModelSpec spec = ModelSpecFor(options.model, data);
  ASSIGN_OR_RETURN(const std::unique_ptr<PlainLoop> loop, PlainLoop::Make(*backend, spec, options.batch, kRate, 1));
  std::vector<double> plain, cluster, ratios;
  for (int pair = 0; pair < options.pairs; ++pair) {
    ASSIGN_OR_RETURN(const double plain_rate, PlainRate(options, data, *loop));
    ASSIGN_OR_RETURN(const double cluster_rate, ClusterRate(options, pair));
    plain.push_back(plain_rate);
    cluster.push_back(cluster_rate);
    ratios.push_back(cluster_rate / plain_rate);
  }
  return std::vector<BenchRow>{
      {"train.plain_loop", Median(plain), "samples/s", "", 0, 0, false, "the model's arithmetic in one process"},
      {"train.one_worker_one_ps", Median(cluster), "samples/s", "train.plain_loop", Median(ratios), 0.95, false,
       "the same in a worker, which pulls from and pushes to one `ps`"}};
}

}  // namespace leeway
