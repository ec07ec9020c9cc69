#include "worker/worker_flags.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/socket.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "kernels/device.h"
#include "worker/models/model_name.h"

ABSL_FLAG(std::string, coordinator, "", "host:port of the coordinator, which is shard 0's `ps`");
ABSL_FLAG(std::string, name, "",
          "this worker's name, unique in the cluster; a worker that comes back under its name gets its rank and data "
          "back (default: hostname-pid)");
ABSL_FLAG(std::int32_t, rank, -1, "which part of statically shared data is this worker's; -1: by sorted names");
ABSL_FLAG(std::string, role, "train",
          "train, or eval: pull, evaluate on the test split, report, keep the best weights");
ABSL_FLAG(std::string, model, "cnn",
          "what is trained: softmax, mlp, mlp:HIDDEN[,HIDDEN...], cnn, or of text gpt:SIZES: 1m, 4m, 10m, 30m or 124m "
          "parameters, and single sizes, as gpt:1m,context=256 (layers, width, heads, context, vocab)");
ABSL_FLAG(std::string, data, "",
          "the data: a directory of IDX files, idx:DIR, csv:TRAIN[,TEST], libsvm:TRAIN[,TEST], synthetic:RECORDS, or "
          "tokens:FILE[,TEST] for gpt: any file byte by byte, or FILE.bin with 16-bit tokens");
ABSL_FLAG(std::int32_t, batch, 64, "samples that are computed at once, 1 to 65536");
ABSL_FLAG(std::int32_t, accumulate, 1, "batches whose gradients are added up into one push, 1 to 65536");
ABSL_FLAG(std::string, device, "auto", "where to compute: auto, cpu or cuda:N");
ABSL_FLAG(std::int32_t, threads, 1, "compute threads of the cpu device, 1 to 1024");
ABSL_FLAG(bool, tf32, false,
          "on a GPU, but of gpt: float32 products may round their inputs to TF32 (10 bits), which is faster");
ABSL_FLAG(std::int32_t, pipeline_depth, 1,
          "steps by which communication may lag behind computing, 0 to 14; 0: pull, compute, push, wait. Staleness "
          "bound 0 needs 0");
ABSL_FLAG(std::string, push_encoding, "f32",
          "how gradients travel: f32, bf16 (half the bytes), int8 (a quarter) or top_k:FRACTION (of the values the "
          "greatest, e.g. top_k:0.01; the rest is kept and added to the next gradient, as int8's rounding is)");
ABSL_FLAG(double, momentum_correction, 0,
          "with --push_encoding=top_k: momentum of the gradients that are kept back (deep gradient compression), 0 "
          "(off) to below 1; the cluster's optimizer must have none of its own");
ABSL_FLAG(std::string, pull_encoding, "f32",
          "how weights travel to a trainer: f32, bf16 (half the bytes) or delta (about a quarter: what has changed "
          "since the last pull; not in rounds)");
ABSL_FLAG(std::string, init_from, "",
          "safetensors file with the weights that training starts from (default: drawn from the cluster's seed)");
ABSL_FLAG(absl::Duration, pace, absl::ZeroDuration(), "the least time of a step, for studies: 0s and above");
ABSL_FLAG(double, jitter, 0,
          "adds a random time to each step, exponentially distributed with a mean of this many paces (or step times, "
          "without --pace); 0 and above");
ABSL_FLAG(double, straggle_factor, 1, "makes each step this many times longer; 1 and above");
ABSL_FLAG(std::string, slow_steps, "",
          "FRACTION:FACTOR makes this fraction of the steps this many times longer, e.g. 0.05:5");
ABSL_FLAG(absl::Duration, start_timeout, absl::Seconds(60),
          "how long the coordinator may be out of reach at the start; above 0s");
ABSL_FLAG(absl::Duration, give_up_after, absl::Minutes(10),
          "how long a `ps` may be out of reach later, and how long to wait for the others to join; above 0s");
ABSL_FLAG(bool, local_sockets, true,
          "reach a `ps` on this machine over its unix socket; false: over TCP, as every other `ps`");
ABSL_FLAG(double, eval_every_epochs, 1,
          "evaluate when the cluster has trained on this many epochs more; 0: not by epochs");
ABSL_FLAG(double, eval_every_seconds, 0, "evaluate when this many seconds have passed; 0: not by time");
ABSL_FLAG(std::string, best_weights, "", "safetensors file for the weights with the best accuracy (--role=eval)");
ABSL_FLAG(std::string, final_weights, "", "safetensors file for the weights that training ended with (--role=eval)");
ABSL_FLAG(std::string, tensorboard_dir, "",
          "write this worker's curves for TensorBoard into a folder of its name in this one; empty: nowhere");
ABSL_FLAG(std::int32_t, num_shards, 0,
          "how many shards the cluster is expected to have, 0 to 4096; 0: as many as it says");
ABSL_FLAG(std::int64_t, max_steps, 0, "this worker leaves after so many steps; 0: no limit of its own");
ABSL_FLAG(
    std::int32_t, preempted_exit_code, 0,
    "exit code of a worker that a signal told to leave, 0 to 255; with another one than 0 a Kubernetes Job makes a new "
    "pod for it");

namespace leeway {
namespace {

// FlagError unless `good`.
template <typename T>
absl::Status Check(bool good, const char* flag, const T& value, const char* allowed) {
  if (good) return absl::OkStatus();
  return FlagError(flag, absl::StrCat(value), allowed);
}

absl::Status CheckDuration(bool good, const char* flag, absl::Duration value, const char* allowed) {
  return Check(good, flag, absl::FormatDuration(value), allowed);
}

bool IsHostPort(const std::string& text) {
  const auto address = SplitAddress(text);
  return address.ok() && address->second > 0;
}

std::string DefaultName() {
  char host[256] = "worker";
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return absl::StrCat(host[0] == '\0' ? "worker" : host, "-", getpid());
}

template <typename T>
bool In(T value, T low, T high) {
  return value >= low && value <= high;
}

absl::Status ReadEncodings(WorkerOptions* options) {
  const std::string push = absl::GetFlag(FLAGS_push_encoding);
  const absl::StatusOr<PushEncoding> push_encoding = ParsePushEncoding(push);
  RETURN_IF_ERROR(Check(push_encoding.ok(), "push_encoding", push,
                        "f32, bf16, int8 or top_k:FRACTION with a fraction above 0, at most 1"));
  options->push_encoding = *push_encoding;
  const double momentum = options->push_encoding.momentum = absl::GetFlag(FLAGS_momentum_correction);
  RETURN_IF_ERROR(Check(momentum >= 0 && momentum < 1, "momentum_correction", momentum, "0 (off) to below 1"));
  RETURN_IF_ERROR(Check(momentum == 0 || options->push_encoding.encoding == v1::TOP_K, "momentum_correction", momentum,
                        "0, unless --push_encoding=top_k:FRACTION"));
  const std::string pull = absl::GetFlag(FLAGS_pull_encoding);
  const absl::StatusOr<v1::Encoding> pull_encoding = ParsePullEncoding(pull);
  RETURN_IF_ERROR(Check(pull_encoding.ok(), "pull_encoding", pull, "f32, bf16 or delta"));
  options->pull_encoding = *pull_encoding;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WorkerOptions> WorkerOptionsFromFlags(bool need_coordinator) {
  constexpr double kMaxFactor = 1e6;
  WorkerOptions options;
  options.coordinator = absl::GetFlag(FLAGS_coordinator);
  if (need_coordinator || !options.coordinator.empty()) {
    RETURN_IF_ERROR(Check(IsHostPort(options.coordinator), "coordinator", options.coordinator,
                          "host:port or [IPv6 address]:port, with a port from 1 to 65535"));
  }
  options.name = absl::GetFlag(FLAGS_name);
  // As the coordinator takes it.
  RETURN_IF_ERROR(Check(PrintableUtf8(options.name, 128) == options.name, "name", options.name,
                        "at most 128 bytes of printable UTF-8"));
  if (options.name.empty()) options.name = DefaultName();
  options.rank = absl::GetFlag(FLAGS_rank);
  RETURN_IF_ERROR(Check(In(options.rank, -1, 65535), "rank", options.rank, "-1 (by sorted names), or 0 to 65535"));
  const std::string role = absl::GetFlag(FLAGS_role);
  RETURN_IF_ERROR(Check(role == "train" || role == "eval", "role", role, "train, eval"));
  options.evaluator = role == "eval";
  options.model = absl::GetFlag(FLAGS_model);
  ASSIGN_OR_RETURN(const ModelName model, ParseModelName(options.model));
  options.data = absl::GetFlag(FLAGS_data);
  if (need_coordinator) {
    RETURN_IF_ERROR(Check(!options.data.empty(), "data", options.data,
                          "a directory, idx:DIR, csv:TRAIN[,TEST], libsvm:TRAIN[,TEST], synthetic:RECORDS or "
                          "tokens:FILE[,TEST]"));
  }
  options.batch = absl::GetFlag(FLAGS_batch);
  RETURN_IF_ERROR(Check(In(options.batch, 1, 65536), "batch", options.batch, "1 to 65536 samples"));
  options.accumulate = absl::GetFlag(FLAGS_accumulate);
  RETURN_IF_ERROR(Check(In(options.accumulate, 1, 65536), "accumulate", options.accumulate, "1 to 65536 batches"));
  RETURN_IF_ERROR(Check(std::int64_t{options.batch} * options.accumulate <= std::numeric_limits<std::int32_t>::max(),
                        "accumulate", options.accumulate, "less than 2^31 samples in a push"));
  options.device = absl::GetFlag(FLAGS_device);
  RETURN_IF_ERROR(CheckDevice(options.device));
  options.threads = absl::GetFlag(FLAGS_threads);
  RETURN_IF_ERROR(Check(In(options.threads, 1, 1024), "threads", options.threads, "1 to 1024"));
  options.tf32 = absl::GetFlag(FLAGS_tf32);
  const bool rounds = options.device != "cpu" && model.family != ModelName::kGpt;
  RETURN_IF_ERROR(Check(rounds || !options.tf32, "tf32", "true",
                        "false with --device=cpu or --model=gpt: only a GPU's float32 products can be rounded"));
  options.pipeline_depth = absl::GetFlag(FLAGS_pipeline_depth);
  RETURN_IF_ERROR(Check(In(options.pipeline_depth, 0, 14), "pipeline_depth", options.pipeline_depth, "0 to 14"));
  RETURN_IF_ERROR(ReadEncodings(&options));
  options.init_from = absl::GetFlag(FLAGS_init_from);
  options.pace.pace = absl::GetFlag(FLAGS_pace);
  RETURN_IF_ERROR(CheckDuration(In(options.pace.pace, absl::ZeroDuration(), absl::Hours(1)), "pace", options.pace.pace,
                                "0s to 1h"));
  options.pace.jitter = absl::GetFlag(FLAGS_jitter);
  RETURN_IF_ERROR(Check(In(options.pace.jitter, 0.0, kMaxFactor), "jitter", options.pace.jitter, "0 to 1e6"));
  options.pace.straggle = absl::GetFlag(FLAGS_straggle_factor);
  RETURN_IF_ERROR(
      Check(In(options.pace.straggle, 1.0, kMaxFactor), "straggle_factor", options.pace.straggle, "1 to 1e6"));
  const absl::StatusOr<SlowSteps> slow = ParseSlowSteps(absl::GetFlag(FLAGS_slow_steps));
  RETURN_IF_ERROR(Check(slow.ok() && slow->factor <= kMaxFactor, "slow_steps", absl::GetFlag(FLAGS_slow_steps),
                        "FRACTION:FACTOR with a fraction in [0, 1] and a factor in [1, 1e6], or nothing"));
  options.pace.slow_steps = *slow;
  options.start_timeout = absl::GetFlag(FLAGS_start_timeout);
  RETURN_IF_ERROR(
      CheckDuration(options.start_timeout > absl::ZeroDuration(), "start_timeout", options.start_timeout, "above 0s"));
  options.give_up_after = absl::GetFlag(FLAGS_give_up_after);
  RETURN_IF_ERROR(
      CheckDuration(options.give_up_after > absl::ZeroDuration(), "give_up_after", options.give_up_after, "above 0s"));
  options.local_sockets = absl::GetFlag(FLAGS_local_sockets);
  options.eval_every_epochs = absl::GetFlag(FLAGS_eval_every_epochs);
  RETURN_IF_ERROR(Check(In(options.eval_every_epochs, 0.0, 1e9), "eval_every_epochs", options.eval_every_epochs,
                        "0 (not by epochs) to 1e9"));
  const double seconds = absl::GetFlag(FLAGS_eval_every_seconds);
  RETURN_IF_ERROR(Check(In(seconds, 0.0, 1e9), "eval_every_seconds", seconds, "0 (not by time) to 1e9"));
  options.eval_every_seconds = absl::Seconds(seconds);
  options.best_weights = absl::GetFlag(FLAGS_best_weights);
  options.final_weights = absl::GetFlag(FLAGS_final_weights);
  options.tensorboard_dir = absl::GetFlag(FLAGS_tensorboard_dir);
  const std::int32_t shards = absl::GetFlag(FLAGS_num_shards);
  RETURN_IF_ERROR(Check(In(shards, 0, 4096), "num_shards", shards, "0 (as the cluster says) to 4096"));
  options.num_shards = static_cast<std::uint32_t>(shards);
  const std::int64_t steps = absl::GetFlag(FLAGS_max_steps);
  RETURN_IF_ERROR(Check(steps >= 0, "max_steps", steps, "0 (no limit) and above"));
  options.max_steps = static_cast<std::uint64_t>(steps);
  options.preempted_exit_code = absl::GetFlag(FLAGS_preempted_exit_code);
  RETURN_IF_ERROR(
      Check(In(options.preempted_exit_code, 0, 255), "preempted_exit_code", options.preempted_exit_code, "0 to 255"));
  return options;
}

absl::Status CheckFiles(const WorkerOptions& options, bool evaluator) {
  namespace fs = std::filesystem;
  if (!evaluator) {
    const std::string& path = options.init_from;
    std::error_code error;
    if (path.empty()) return absl::OkStatus();
    if (access(path.c_str(), R_OK) == 0 && !fs::is_directory(path, error)) return absl::OkStatus();
    const char* const why = strerror(access(path.c_str(), R_OK) == 0 ? EISDIR : errno);
    return FlagError("init_from", path, absl::StrCat("a file that can be read (", why, ")"));
  }
  const std::pair<const char*, std::string> written[] = {{"best_weights", options.best_weights},
                                                         {"final_weights", options.final_weights}};
  for (const auto& [flag, path] : written) {
    const std::string folder = fs::path(path).parent_path().string();
    if (path.empty() || access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0) continue;
    return FlagError(flag, path, absl::StrCat("a file in a folder that can be written (", strerror(errno), ")"));
  }
  return absl::OkStatus();
}

}  // namespace leeway
