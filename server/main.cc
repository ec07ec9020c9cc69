// `ps`: one shard of the cluster; shard 0 is the coordinator too.
#include <grpc/grpc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "common/end_process.h"
#include "common/exit_code.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/grpc_log.h"
#include "common/log.h"
#include "common/machine.h"
#include "common/run_failure.h"
#include "common/security_flags.h"
#include "common/socket.h"
#include "common/tune_process.h"
#include "common/version.h"
#include "server/end_timer.h"
#include "server/launcher_flags.h"
#include "server/policy_flags.h"
#include "server/ps_http.h"
#include "server/ps_metrics.h"
#include "server/ps_node.h"
#include "server/told_to_end.h"

ABSL_FLAG(uint32_t, shard_index, 0, "which shard this is: 0 to --num_shards - 1; shard 0 is the coordinator");
ABSL_FLAG(uint32_t, num_shards, 1, "how many `ps` the cluster has");
ABSL_FLAG(
    std::string, listen, "127.0.0.1:0",
    "host:port or [IPv6 address]:port to serve on; port 0 takes a free one; 0.0.0.0 and [::] are all addresses, of "
    "IPv4 and IPv6");
ABSL_FLAG(std::string, advertise, "", "host:port where workers reach this `ps`; empty: --listen");
ABSL_FLAG(std::string, coordinator, "",
          "host:port of shard 0, for the other shards; shard 0 itself may be given its own");
ABSL_FLAG(bool, local_sockets, true, "serve workers on this machine over a unix socket beside TCP");
ABSL_FLAG(std::string, checkpoint_dir, "", "folder for what must not be lost; empty: a `ps` that dies ends the run");
ABSL_FLAG(std::string, checkpoint_storage, "shared",
          "shared: --checkpoint_dir is one folder that all `ps` share; own: it is this one's, and checkpoints are kept "
          "in that of shard 0");
ABSL_FLAG(std::string, journal, "",
          "off; on: an acknowledged push survives the process; fsync: the machine too; empty: on if --checkpoint_dir");
ABSL_FLAG(uint64_t, checkpoint_steps, 0, "shard 0: a checkpoint every so many steps; 0: not by steps");
ABSL_FLAG(absl::Duration, checkpoint_interval, absl::Minutes(5),
          "shard 0: a checkpoint after so long; inf: not by time");
ABSL_FLAG(uint32_t, checkpoint_keep, 3, "shard 0: how many checkpoints are kept");
ABSL_FLAG(bool, keep_journal, false,
          "keep the journal back to the beginning of the run, for leeway replay, also what no checkpoint needs");
ABSL_FLAG(uint64_t, journal_max_bytes, 0,
          "a checkpoint when this shard's journal has grown by so many bytes since the last one; 0: not by that");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "at SIGTERM: the longest for a checkpoint, for what is under way, and for the end; 0: end at once");
ABSL_FLAG(double, rollback_on_divergence, 0,
          "shard 0: go back to a checkpoint when the loss is above so many times the first one; 0: never");
ABSL_FLAG(std::string, tensorboard_dir, "",
          "shard 0: write the run's curves for TensorBoard into DIR/run; other shards have none; empty: nowhere");
ABSL_FLAG(std::string, port_file, "", "write the address that workers use to this file once serving");
ABSL_FLAG(absl::Duration, lease, absl::Seconds(10), "a worker without a heartbeat for this long is out");
ABSL_FLAG(uint32_t, num_evaluators, 0, "shard 0: evaluators that the start waits for, beside --num_workers");
ABSL_FLAG(absl::Duration, start_timeout, absl::Minutes(1), "how long to wait for the coordinator at start");
ABSL_FLAG(absl::Duration, give_up_after, absl::Minutes(10), "end when the coordinator is not reached for this long");
ABSL_FLAG(absl::Duration, abandon_timeout, absl::Minutes(1), "end the run when no worker is left for this long");
ABSL_FLAG(
    absl::Duration, linger, absl::Seconds(2),
    "how long shard 0 answers status calls after the end, 0 to 24h; inf: every `ps` stays until it is told to go, "
    "also one that is started after the end, for supervisors that start again whatever ends");
ABSL_FLAG(uint32_t, threads, 2, "threads that apply gradients");
ABSL_FLAG(uint64_t, max_held_bytes, uint64_t{4} << 30,
          "gradients held at most, in bytes; above it pushes must come back");

namespace leeway {
namespace {

// More than any machine has room for: these only tell a slip of the hand.
constexpr std::uint32_t kMostEvaluators = 4096;
// The end itself has so long, also with --drain_timeout=0.
constexpr absl::Duration kShortestEnd = absl::Seconds(5);
constexpr std::uint64_t kMostHeldBytes = std::uint64_t{1} << 50;

absl::StatusOr<PsNode::Options::JournalMode> JournalModeFromFlags() {
  using Mode = PsNode::Options::JournalMode;
  const bool somewhere = !absl::GetFlag(FLAGS_checkpoint_dir).empty();
  const std::string mode = absl::GetFlag(FLAGS_journal);
  if (mode == "off" || (mode.empty() && !somewhere)) return Mode::kOff;
  if (mode != "on" && mode != "fsync" && !mode.empty()) return FlagError("journal", mode, "off, on or fsync");
  if (!somewhere) return FlagError("journal", mode, "off without --checkpoint_dir");
  return mode == "fsync" ? Mode::kFsync : Mode::kOn;
}

absl::Status CheckAddresses(const PsNode::Options& options) {
  const auto listen = SplitAddress(options.listen);
  if (!listen.ok())
    return FlagError("listen", options.listen, "host:port or [IPv6 address]:port, with a port from 0 to 65535");
  if (options.advertise.empty()) {
    if (!IsWildcard(listen->first)) return absl::OkStatus();
    return FlagError("listen", options.listen,
                     "every address of the machine only with --advertise=host:port, where workers reach it");
  }
  const auto advertise = SplitAddress(options.advertise);
  if (advertise.ok() && !IsWildcard(advertise->first)) return absl::OkStatus();
  return FlagError("advertise", options.advertise,
                   "host:port where workers reach this `ps`, with a port from 0 (that of --listen) to 65535");
}

absl::Status CheckLimits(const PsNode::Options& options) {
  const std::pair<const char*, absl::Duration> times[] = {{"start_timeout", options.start_timeout},
                                                          {"give_up_after", options.give_up_after},
                                                          {"abandon_timeout", options.abandon_timeout}};
  for (const auto& [flag, time] : times) {
    if (time <= absl::ZeroDuration()) return FlagError(flag, absl::FormatDuration(time), "more than 0");
  }
  const bool stays = options.linger == absl::InfiniteDuration();
  if (options.linger < absl::ZeroDuration() || (options.linger > absl::Hours(24) && !stays)) {
    return FlagError("linger", absl::FormatDuration(options.linger), "0 to 24h, or inf");
  }
  if (options.drain_timeout < absl::ZeroDuration() || options.drain_timeout > absl::Hours(1)) {
    return FlagError("drain_timeout", absl::FormatDuration(options.drain_timeout), "0 to 1h");
  }
  if (options.num_evaluators > kMostEvaluators) {
    return FlagError("num_evaluators", absl::StrCat(options.num_evaluators), absl::StrCat("0 to ", kMostEvaluators));
  }
  if (options.max_held_bytes == 0 || options.max_held_bytes > kMostHeldBytes) {
    return FlagError("max_held_bytes", absl::StrCat(options.max_held_bytes), absl::StrCat("1 to ", kMostHeldBytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<PsNode::Options> OptionsFromFlags() {
  PsNode::Options options;
  options.shard_index = absl::GetFlag(FLAGS_shard_index);
  options.num_shards = absl::GetFlag(FLAGS_num_shards);
  options.listen = absl::GetFlag(FLAGS_listen);
  options.advertise = absl::GetFlag(FLAGS_advertise);
  options.coordinator = absl::GetFlag(FLAGS_coordinator);
  options.local_sockets = absl::GetFlag(FLAGS_local_sockets);
  options.lease = absl::GetFlag(FLAGS_lease);
  options.num_evaluators = absl::GetFlag(FLAGS_num_evaluators);
  options.start_timeout = absl::GetFlag(FLAGS_start_timeout);
  options.give_up_after = absl::GetFlag(FLAGS_give_up_after);
  options.abandon_timeout = absl::GetFlag(FLAGS_abandon_timeout);
  options.linger = absl::GetFlag(FLAGS_linger);
  options.threads = absl::GetFlag(FLAGS_threads);
  options.max_held_bytes = absl::GetFlag(FLAGS_max_held_bytes);
  options.checkpoint_dir = absl::GetFlag(FLAGS_checkpoint_dir);
  const std::string storage = absl::GetFlag(FLAGS_checkpoint_storage);
  if (storage != "shared" && storage != "own") return FlagError("checkpoint_storage", storage, "shared or own");
  options.own_storage = storage == "own" && options.shard_index > 0;
  options.told_to_end = ToldToEnd;
  options.checkpoint_steps = absl::GetFlag(FLAGS_checkpoint_steps);
  options.checkpoint_interval = absl::GetFlag(FLAGS_checkpoint_interval);
  options.checkpoint_keep = absl::GetFlag(FLAGS_checkpoint_keep);
  options.keep_journal = absl::GetFlag(FLAGS_keep_journal);
  options.journal_max_bytes = absl::GetFlag(FLAGS_journal_max_bytes);
  options.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  if (options.checkpoint_interval < absl::Seconds(1)) {
    return FlagError("checkpoint_interval", absl::FormatDuration(options.checkpoint_interval), "1s and above, or inf");
  }
  if (options.checkpoint_dir.empty()) {
    for (const char* flag : {"checkpoint_interval", "checkpoint_steps", "checkpoint_keep", "checkpoint_storage",
                             "rollback_on_divergence"}) {
      if (absl::Status status = CheckUnread(flag, "--checkpoint_dir"); !status.ok()) return status;
    }
  }
  options.rollback_on_divergence = absl::GetFlag(FLAGS_rollback_on_divergence);
  if (!(options.rollback_on_divergence >= 0) || std::isinf(options.rollback_on_divergence)) {
    return FlagError("rollback_on_divergence", absl::StrCat(options.rollback_on_divergence), "0 and above");
  }
  if (options.checkpoint_keep == 0) return FlagError("checkpoint_keep", "0", "1 and above");
  const absl::StatusOr<PsNode::Options::JournalMode> journal = JournalModeFromFlags();
  if (!journal.ok()) return journal.status();
  options.journal = *journal;
  if (options.journal == PsNode::Options::JournalMode::kOff) {
    for (const char* flag : {"journal_max_bytes", "keep_journal"}) {
      if (absl::Status status = CheckUnread(flag, "a journal (--journal=on)"); !status.ok()) return status;
    }
  }
  if (options.num_shards == 0 || options.num_shards > 4096) {
    return FlagError("num_shards", absl::StrCat(options.num_shards), "1 to 4096");
  }
  if (options.threads == 0 || options.threads > 256)
    return FlagError("threads", absl::StrCat(options.threads), "1 to 256");
  if (options.lease < absl::Milliseconds(500) || options.lease > absl::Hours(1)) {
    return FlagError("lease", absl::FormatDuration(options.lease), "500ms to 1h");
  }
  if (absl::Status status = CheckAddresses(options); !status.ok()) return status;
  absl::StatusOr<Security> security = SecurityFromFlags();
  if (!security.ok()) return security.status();
  options.security = *std::move(security);
  if (absl::Status status = CheckListenFlag("listen", options.listen, options.security); !status.ok()) return status;
  const bool advertises = !options.advertise.empty();
  if (absl::Status status = CheckCalledFlag(advertises ? "advertise" : "listen",
                                            advertises ? options.advertise : options.listen, options.security);
      !status.ok())
    return status;
  if (absl::Status status = CheckLimits(options); !status.ok()) return status;
  if (options.shard_index > 0 && !SplitAddress(options.coordinator).ok()) {
    return FlagError("coordinator", options.coordinator,
                     "host:port of shard 0 (this is shard " + absl::StrCat(options.shard_index) + ")");
  }
  if (options.shard_index == 0) {
    // Its own address is no contradiction: a StatefulSet gives all its pods the same flags.
    if (!options.coordinator.empty() && options.coordinator != options.advertise) {
      return FlagError("coordinator", options.coordinator,
                       "nothing, or its own --advertise, on shard 0, which is the coordinator");
    }
    absl::StatusOr<v1::Policy> policy = PolicyFromFlags();
    if (!policy.ok()) return policy.status();
    options.policy = *std::move(policy);
  }
  return options;
}

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return 0;
  if (absl::IsInvalidArgument(status)) return kExitBadInput;  // flags that do not fit the model
  return IsRunFailure(status) ? kExitRunFailed : kExitClusterLost;
}

// Of one that could not begin: another process has its port or its folder, shard 0 does not answer; or it would end in
// the same way again.
int ExitCodeOfStart(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ? kExitClusterLost : kExitBadInput;
}

int Main(int argc, char** argv) {
  const auto rest = ParseFlags(argc, argv, "ps: a parameter server shard of a Leeway cluster.\nUsage: ps [flags]");
  if (!rest.empty())
    ExitWithError(absl::InvalidArgumentError("unexpected argument '" + rest[0] + "'; ps takes flags only"));
  // Signals go to a thread of their own: every other thread inherits the mask.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  grpc_init();  // held for the process: a last grpc_shutdown() may block for 10 s
  if (absl::Status launched = SetPsFlagsFromLauncher(); !launched.ok()) {
    ExitWithError(launched, ExitCodeOfStart(launched));
  }
  const absl::StatusOr<PsNode::Options> options = OptionsFromFlags();
  if (!options.ok()) ExitWithError(options.status());
  const std::string name = absl::StrCat("ps-", options->shard_index);
  if (absl::Status status = InitLogging(name); !status.ok()) ExitWithError(status);
  LogCertificate(options->security);
  RouteLibraryLogs();
  const absl::StatusOr<std::unique_ptr<PsHttp>> http = PsHttp::Start(name, options->shard_index, options->security);
  if (!http.ok()) ExitWithError(http.status(), ExitCodeOfStart(http.status()));

  absl::StatusOr<std::unique_ptr<PsNode>> node = PsNode::Start(*options);
  if (absl::IsCancelled(node.status())) {
    spdlog::info("{}: {}", name, std::string(node.status().message()));
    return 0;
  }
  if (!node.ok() && ExitCodeOfStart(node.status()) == kExitClusterLost) {
    spdlog::error("{}: {}", name, std::string(node.status().message()));
    return kExitClusterLost;
  }
  if (!node.ok()) ExitWithError(node.status());
  (*http)->Serve(node->get());
  spdlog::info("{} {}: shard {} of {} serves at {}; {} of memory, {} cores", name, kVersion, options->shard_index,
               options->num_shards, (*node)->address(), FormatBytes(TotalMemoryBytes()), AvailableCores());
  if (const std::string file = absl::GetFlag(FLAGS_port_file); !file.empty()) {
    const absl::Status written = WriteAtomically(RealFileSystem(), file, (*node)->address() + "\n");
    if (!written.ok()) {
      ExitWithError(FlagError("port_file", file, absl::StrCat("a file that can be written (", written.message(), ")")));
    }
  }

  std::atomic<bool> over = false;
  const absl::Duration drain = options->drain_timeout;
  EndTimer timer;
  std::thread watcher([&] {
    int signal = 0;
    for (int count = 0; sigwait(&signals, &signal) == 0 && !over; ++count) {
      if (count > 0) _exit(1);  // a second signal does not wait
      timer.EndWithin(std::max(drain, kShortestEnd));
      (*node)->RequestDrain(absl::StrCat("signal ", signal, ": shutting down, within ", absl::FormatDuration(drain)));
    }
  });

  std::unique_ptr<TensorBoardLog> curves = WriteCurves(absl::GetFlag(FLAGS_tensorboard_dir), node->get());
  const absl::Status status = (*node)->Wait();
  over = true;
  // What is left to do is to let go: nothing is lost if that is cut short.
  timer.SetCode(ExitCodeOf(status));
  timer.EndWithin(std::max(drain, kShortestEnd));
  pthread_kill(watcher.native_handle(), SIGTERM);
  watcher.join();
  (*http)->Leave();
  curves.reset();
  node->reset();
  if (!status.ok()) {
    spdlog::error("{}: {}", name, std::string(status.message()));
    return ExitCodeOf(status);
  }
  spdlog::info("{}: ends", name);
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) {
  leeway::TuneProcess();
  leeway::EndProcess(leeway::Main(argc, argv));
}
