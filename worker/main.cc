// The `worker` daemon: trains, or evaluates (--role=eval).
//
// Exit codes: 0 the run ended, or the worker was drained, or preempted (for which --preempted_exit_code may say another
// one); else common/exit_code.h.
#include <grpc/grpc.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/any_transport.h"
#include "common/clock.h"
#include "common/end_process.h"
#include "common/executor.h"
#include "common/exit_code.h"
#include "common/flags.h"
#include "common/grpc_log.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/machine.h"
#include "common/print_error.h"
#include "common/process_http.h"
#include "common/readiness.h"
#include "common/security_flags.h"
#include "common/status_macros.h"
#include "common/tune_process.h"
#include "common/wait_words.h"
#include "kernels/device.h"
#include "worker/client/caller.h"
#include "worker/client/cancellation.h"
#include "worker/client/error_feedback.h"
#include "worker/data_for_model.h"
#include "worker/exit_code_of.h"
#include "worker/launcher_flags.h"
#include "worker/signals.h"
#include "worker/trainer/device_encoder.h"
#include "worker/trainer/evaluator.h"
#include "worker/trainer/trainer.h"
#include "worker/trainer/weights_file.h"
#include "worker/trainer/worker_curves.h"
#include "worker/trainer/worker_metrics.h"
#include "worker/worker_flags.h"

namespace leeway {
namespace {

// They decode replies and encode gradients beside the computing thread; gRPC and the kernel need cores too.
std::size_t ReplyThreads() { return static_cast<std::size_t>(std::clamp(AvailableCores() / 4, 2, 8)); }

// What comes to the host of a gradient, where the device `converts`: what the network sends, if the device can make it.
Engine::Gradients GradientsOf(const WorkerOptions& options, bool converts) {
  if (options.evaluator || !converts) return Engine::Gradients::kFloats;
  if (options.push_encoding.encoding == v1::BF16) return Engine::Gradients::kHalves;
  return DeviceEncoder::Takes(options.push_encoding) ? Engine::Gradients::kEncoded : Engine::Gradients::kFloats;
}

Engine::Options EngineOptions(const WorkerOptions& options, const Dataset& data, bool converts) {
  Engine::Options engine;
  engine.batch = options.batch;
  engine.weights_slots = options.evaluator ? 1 : options.pipeline_depth + 1;
  engine.gradient_slots = options.evaluator ? 0 : options.pipeline_depth + 1;
  engine.features = data.features_per_record();
  engine.labels = data.labels_per_record();
  engine.half_weights = converts && !options.evaluator && options.pull_encoding == v1::BF16;
  engine.gradients = GradientsOf(options, converts);
  return engine;
}

// Of residuals, of encoded gradients in flight, and of the weights that deltas are added to.
std::uint64_t EncodingBytes(const WorkerOptions& options, const Engine::Options& engine, std::uint64_t elements) {
  if (options.evaluator) return 0;
  const std::uint64_t seen = options.pull_encoding == v1::INT8 ? elements * sizeof(float) : 0;
  switch (engine.gradients) {
    case Engine::Gradients::kEncoded:
      return seen + DeviceEncoder::EstimateBytes(elements, options.push_encoding, engine.gradient_slots);
    case Engine::Gradients::kHalves:
      return seen;  // they lie where the engine has the gradient
    default:
      return seen + ErrorFeedback::EstimateBytes(elements, options.push_encoding, engine.gradient_slots);
  }
}

void SayWhoEncodes(const WorkerOptions& options, bool converts, Engine::Gradients gradients) {
  if (options.evaluator || options.push_encoding.encoding == v1::F32) return;
  const bool host = gradients == Engine::Gradients::kFloats;
  spdlog::info("gradients travel as {}, encoded by {}{}", v1::Encoding_Name(options.push_encoding.encoding),
               host ? "the host" : "the device",
               host && converts ? " (the device does none with --momentum_correction)" : "");
}

// Everything that talks to the cluster, in the order in which it has to end.
class Connection {
 public:
  Connection(const WorkerOptions& options, const Security& security)
      : executor_(MakeThreadPool(ReplyThreads())),
        clock_(MakeSystemClock()),
        transport_(MakeTransport(security)),
        caller_(*transport_, *clock_, *executor_, options.coordinator, options.start_timeout,
                HashString(options.name)) {
    if (options.local_sockets) caller_.UseLocalSockets(HostId());
  }
  ~Connection() {
    caller_.Stop();
    transport_.reset();
    clock_.reset();
    executor_.reset();
  }
  Caller& caller() { return caller_; }

 private:
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Clock> clock_;
  std::unique_ptr<Transport> transport_;
  Caller caller_;
};

absl::Status RunWorker(const WorkerOptions& options, const Security& security, WorkerMetrics* metrics,
                       Cancellation& cancellation, Readiness& readiness) {
  RETURN_IF_ERROR(CheckFiles(options, options.evaluator));
  const Split split = options.evaluator ? Split::kTest : Split::kTrain;
  RETURN_IF_ERROR(CheckModelTakes(options.model, options.data));
  ASSIGN_OR_RETURN(const Dataset data, LoadDataFor(options.model, options.data, split));
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, MakeModel(ModelSpecFor(options.model, data)));
  const Manifest& manifest = model->manifest();
  ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend, MakeBackend(options.device, options.threads, options.tf32));
  spdlog::info("computes on {}", backend->description());
  ASSIGN_OR_RETURN(const bool converts, Engine::ConvertsOnDevice(*backend));
  const Engine::Options engine_options = EngineOptions(options, data, converts);
  SayWhoEncodes(options, converts, engine_options.gradients);
  const std::uint64_t estimate = Engine::EstimateBytes(manifest.elements(), engine_options) +
                                 EncodingBytes(options, engine_options, manifest.elements());
  spdlog::info(
      "{} {}: {} records of {} {}, model {} with {} parameters; weights, gradients, encodings and inputs take "
      "{}, this machine has {}",
      options.evaluator ? "evaluator" : "trainer", options.name, data.num_records(), data.features_per_record(),
      data.has_tokens() ? "tokens" : "features", manifest.model(), manifest.elements(), FormatBytes(estimate),
      FormatBytes(TotalMemoryBytes()));
  if (estimate > TotalMemoryBytes()) {
    return absl::InvalidArgumentError(absl::StrCat("the buffers of --pipeline_depth=", options.pipeline_depth, " take ",
                                                   FormatBytes(estimate), "; this machine has ",
                                                   FormatBytes(TotalMemoryBytes())));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Make(*backend, *model, engine_options));
  Identity identity{options.name, options.rank, options.num_shards, options.give_up_after,
                    [&readiness](const absl::Status& status) { readiness.Set(status); }};

  if (options.evaluator) {
    Connection connection(options, security);
    const EvaluatorOptions evaluator{
        identity, options.eval_every_epochs, options.eval_every_seconds, options.best_weights, options.final_weights,
        metrics};
    return RunEvaluator(connection.caller(), *engine, manifest, data, RealFileSystem(), evaluator, cancellation);
  }
  TrainerOptions trainer;
  trainer.identity = identity;
  trainer.depth = options.pipeline_depth;
  trainer.samples_per_step = static_cast<std::uint64_t>(options.batch) * static_cast<std::uint64_t>(options.accumulate);
  trainer.max_steps = options.max_steps;
  trainer.pace = options.pace;
  trainer.push_encoding = options.push_encoding;
  trainer.pull_encoding = options.pull_encoding;
  trainer.device = backend->description();
  trainer.metrics = metrics;
  if (!options.init_from.empty()) {
    ASSIGN_OR_RETURN(trainer.init_weights, LoadWeights(RealFileSystem(), options.init_from, manifest));
    trainer.init_fingerprint =
        HashBytes(trainer.init_weights->data(), trainer.init_weights->size() * sizeof(float), manifest.fingerprint());
  }
  Connection connection(options, security);
  return RunTrainer(connection.caller(), *engine, manifest, data, trainer, cancellation);
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments = ParseFlags(
      argc, argv, "worker: computes gradients for a Leeway cluster, or evaluates its weights (--role=eval).");
  if (!arguments.empty()) {
    ExitWithError(absl::InvalidArgumentError(absl::StrCat("\"", arguments[0], "\": only flags are allowed")));
  }
  if (absl::Status launched = SetWorkerFlagsFromLauncher(); !launched.ok()) ExitWithError(launched);
  const absl::StatusOr<WorkerOptions> options = WorkerOptionsFromFlags(/*need_coordinator=*/true);
  if (!options.ok()) ExitWithError(options.status());
  const absl::StatusOr<Security> security = SecurityFromFlags();
  if (!security.ok()) ExitWithError(security.status());
  if (absl::Status status = InitLogging(options->name); !status.ok()) ExitWithError(status);
  LogCertificate(*security);
  RouteLibraryLogs();
  Cancellation cancellation;
  std::atomic<bool> signalled = false;  // leeway drain cancels, too, and is no preemption
  SignalWatcher signals([&cancellation, &signalled] {
    spdlog::info("asked to stop: the step under way is finished, then this worker leaves (a second signal ends it)");
    signalled = true;
    cancellation.Cancel();
  });
  Readiness readiness(absl::UnavailableError("reads its data"));
  WorkerMetrics metrics;
  const HttpHandler tell = [&metrics](const HttpRequest&) -> HttpResponse {
    return {.content_type = MetricsPage::kContentType, .body = metrics.Text()};
  };
  const auto waits = [&metrics] {
    std::string lines;
    for (const v1::WaitUnderWay& wait : metrics.waits()) {
      absl::StrAppend(&lines, "waiting: ", WaitWords(wait, WorkerNumber), "\n");
    }
    return lines;
  };
  const absl::StatusOr<std::unique_ptr<HttpServer>> http = StartProcessHttp(
      {"worker", options->name, [&readiness] { return readiness.Get(); }, {{"/metrics", tell}}, waits, *security});
  if (!http.ok()) ExitWithError(http.status(), ExitCodeOf(http.status()));
  grpc_init();  // never undone: the last shutdown may stall for 10 s (gRPC 1.51)
  std::unique_ptr<TensorBoardLog> curves = WriteCurves(options->tensorboard_dir, options->name, &metrics);
  const absl::Status status = RunWorker(*options, *security, &metrics, cancellation, readiness);
  curves.reset();
  const int code = ExitCodeOf(status);
  // One line: what is refused is refused as bad flags are; a cluster that was lost is the log's last event.
  if (code == kExitClusterLost) {
    spdlog::error("{}", status);
  } else if (code != 0) {
    PrintError(status.message());
  } else if (signalled) {
    return options->preempted_exit_code;
  }
  return code;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) {
  leeway::TuneProcess();
  leeway::EndProcess(leeway::Main(argc, argv));
}
