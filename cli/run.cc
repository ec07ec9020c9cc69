#include "cli/run.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/cluster.h"
#include "cli/display.h"
#include "cli/report/summary.h"
#include "cli/run_directory.h"
#include "cli/run_monitor.h"
#include "cli/run_options.h"
#include "cli/signals.h"
#include "cli/status_client.h"
#include "cli/terminal.h"
#include "cli/why/wait_keeper.h"
#include "cli/why/why.h"
#include "common/exit_code.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/grpc_transport.h"
#include "common/run_failure.h"
#include "common/version.h"

namespace leeway {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(250);
constexpr absl::Duration kSilence = absl::Seconds(10);     // of ps-0, before it is mentioned
constexpr absl::Duration kNobodyLeft = absl::Seconds(5);   // without a trainer, before the run is given up
constexpr absl::Duration kEndTogether = absl::Seconds(2);  // what ends with the run has ended within this time of ps-0
constexpr absl::Duration kLeaveTime = absl::Seconds(10);   // for every process, once training has finished
constexpr absl::Duration kSameLine = absl::Seconds(10);    // before a line that says nothing new comes again

// With the run, whether that went well or not.
bool EndedWithRun(const ProcessExit& exit) { return exit.ok() || exit.code == kExitRunFailed; }

class Run {
 public:
  Run(RunOptions options, RunFacts facts)
      : options_(std::move(options)),
        facts_(std::move(facts)),
        transport_(MakeGrpcTransport({.security = options_.security})),
        cluster_(options_),
        block_(IsLiveTerminal(STDOUT_FILENO) ? std::make_unique<LiveBlock>(STDOUT_FILENO) : nullptr) {}

  int Execute();

 private:
  // Sleeps; false when a signal wants the run to end.
  bool Wait(absl::Duration time) { return (signal_ = signals_.Wait(time)) == 0; }

  // What ends the run as failed, if anything does.
  std::optional<std::string> CheckProcesses(absl::Time now);
  std::optional<std::string> CheckEndedPs(absl::Time now);
  bool Finished(absl::Time now);
  bool HasFinalEvaluation() const;  // or nobody wants it, or knows
  int Running() const;              // how many processes
  void MentionSilence(absl::Time now);
  void Draw(absl::Time now);
  void Say(const std::string& line);  // a lasting line

  // Ends every process, writes the results of what has been seen, and returns `exit_code`.
  int End(int exit_code, std::string error);
  std::string LostAtTheEnd() const;  // "": nothing
  std::string HowToGoOn() const;     // what to say to who has interrupted it

  const RunOptions options_;
  const RunFacts facts_;
  SignalWaiter signals_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<StatusClient> client_;
  LocalCluster cluster_;
  RunMonitor monitor_;
  WaitKeeper waits_;
  std::unique_ptr<LiveBlock> block_;  // null: stdout is no terminal
  int signal_ = 0;
  absl::Time complete_at_ = absl::InfiniteFuture();
  absl::Time nobody_since_ = absl::InfiniteFuture();
  std::set<std::string> cannot_go_on_;  // workers that would end in the same way again
  std::string failed_;                  // "": nothing failed that the run can go on without
  int error_code_ = kExitClusterLost;   // of a run that cannot be completed
  // A ps that has ended with the run, or because somebody has told it to.
  struct EndedPs {
    std::string name;
    std::string what;            // to say of it
    std::string before_the_end;  // to say of it if the run fails for that
    bool restart;                // if it was told to
    absl::Time at;
    std::uint64_t observations;  // of the monitor, by then
  };
  std::vector<EndedPs> ended_ps_;
  absl::Time silence_mentioned_ = absl::InfinitePast();
  absl::Time line_shown_ = absl::InfinitePast();
  absl::Time line_changed_ = absl::InfinitePast();
  std::string last_line_;
};

int Run::Execute() {
  Say(absl::StrCat("leeway ", kVersion, ": ", options_.num_ps, " ps, ", options_.num_workers, " worker",
                   options_.num_workers == 1 ? "" : "s", options_.eval ? " and an evaluator" : "", " on ",
                   facts_.machine, "; logs in ", options_.directory));
  absl::Time said = absl::Now();
  const absl::Status started = cluster_.Start([this, &said](absl::Duration time) {
    if (absl::Now() - said >= kSilence) {
      said = absl::Now();
      Say(absl::StrCat(PsName(0), " does not listen yet", cluster_.LastLines(PsName(0))));
    }
    return Wait(time);
  });
  if (signal_ != 0) return End(128 + signal_, "interrupted");
  const int not_started = absl::IsInvalidArgument(started) ? kExitBadInput : kExitClusterLost;
  if (!started.ok()) return End(not_started, std::string(started.message()));
  Say(absl::StrCat("from another terminal: leeway top --coordinator=", cluster_.coordinator()));
  if (!cluster_.status_page().empty())
    Say(absl::StrCat("status page: ", options_.security.tls.empty() ? "http" : "https", "://", cluster_.status_page(),
                     "/"));
  client_ = std::make_unique<StatusClient>(transport_.get(), cluster_.coordinator(), /*want_waits=*/true);
  silence_mentioned_ = absl::Now();
  while (true) {
    if (!Wait(kTick)) return End(128 + signal_, "interrupted");
    const absl::Time now = absl::Now();
    if (std::optional<v1::GetStatusReply> status = client_->Take()) {
      waits_.Take(&*status);
      monitor_.Observe(*std::move(status), now);
    }
    client_->Ask();
    const std::optional<std::string> error = CheckProcesses(now);
    if (error) return End(error_code_, *error);
    if (Finished(now)) {
      const absl::Status failure = RunFailure(monitor_.now().failure());
      if (!failure.ok()) return End(kExitRunFailed, std::string(failure.message()));
      if (failed_.empty() && !HasFinalEvaluation()) {
        failed_ = "no evaluator was there at the end: the final weights are not evaluated, and not written";
      }
      return End(failed_.empty() ? 0 : kExitClusterLost, failed_);
    }
    MentionSilence(now);
    Draw(now);
  }
}

std::optional<std::string> Run::CheckProcesses(absl::Time now) {
  const absl::StatusOr<std::vector<LocalCluster::Ended>> news = cluster_.Reap(now, monitor_.farthest() == v1::FINISHED);
  if (!news.ok()) return std::string(news.status().message());
  for (const LocalCluster::Ended& ended : *news) {
    const std::string what = absl::StrCat(ended.name, " ", Describe(ended.exit));
    if (ended.role == ProcessRole::kPs) {
      const std::string early = absl::StrCat(what, " before training had finished", cluster_.LastLines(ended.name));
      if (ended.restarting) {
        Say(absl::StrCat(what, "; it will be started again"));
        continue;
      }
      if (monitor_.farthest() == v1::FINISHED) continue;  // what it may have lost all the same, End says
      if (ended.exit.code == kExitBadInput) error_code_ = kExitBadInput;
      if (!EndedWithRun(ended.exit)) return early;
      const bool restart = options_.restart_ps && ended.exit.ok();
      ended_ps_.push_back({ended.name, what, early, restart, now, monitor_.observations()});
      continue;
    }
    // Training goes on without an evaluator, but what was asked for is not all there unless another one completes it.
    if (ended.role == ProcessRole::kEvaluator) failed_ = EndedWithRun(ended.exit) ? "" : what;
    if (EndedWithRun(ended.exit) && monitor_.ending()) continue;
    if (EndedWithRun(ended.exit)) {
      Say(absl::StrCat(ended.name, " has left the run"));
      continue;
    }
    const std::string quoted = absl::StrCat(what, cluster_.LastLines(ended.name));
    if (ended.restarting) {
      Say(absl::StrCat(quoted, "\n", ended.name, " will be started again"));
    } else if (monitor_.farthest() == v1::STARTING) {  // which waits for it
      if (ended.exit.code == kExitBadInput) error_code_ = kExitBadInput;
      return absl::StrCat(what, " before training began", cluster_.LastLines(ended.name));
    } else {
      Say(quoted);
      if (ended.exit.code == kExitBadInput && ended.role == ProcessRole::kTrainer) cannot_go_on_.insert(ended.name);
    }
  }
  if (static_cast<int>(cannot_go_on_.size()) == options_.num_workers && !monitor_.ending()) {
    error_code_ = kExitBadInput;
    return "no worker can go on with this run";
  }
  if (cluster_.Count(ProcessRole::kTrainer) > 0 || monitor_.ending()) {
    nobody_since_ = absl::InfiniteFuture();
  } else {
    nobody_since_ = std::min(nobody_since_, now);
  }
  if (now - nobody_since_ >= kNobodyLeft) return "no worker is left to train";
  return CheckEndedPs(now);
}

std::optional<std::string> Run::CheckEndedPs(absl::Time now) {
  for (auto it = ended_ps_.begin(); it != ended_ps_.end();) {
    const bool coordinator = it->name == PsName(0);
    const bool again = it->restart ? monitor_.farthest() < v1::FINISHED : !monitor_.ending();
    // Had it ended with the run, a status that was asked for since would say so: the next one but one surely was. ps-0
    // itself answers for a while (--linger) before it ends; without that, all others end with it.
    bool known = monitor_.observations() >= it->observations + 2;
    if (coordinator) known = !monitor_.ending() || (now - it->at >= kEndTogether && Running() > 0);
    if (!again) {
      it = ended_ps_.erase(it);
    } else if (!it->restart) {
      if (now - it->at >= kNobodyLeft) return it->before_the_end;
      ++it;
    } else if (!known) {
      ++it;
    } else if (cluster_.Restart(it->name, now)) {
      Say(absl::StrCat(it->what, ": it was told to end; it will be started again"));
      it = ended_ps_.erase(it);
    } else {
      return it->before_the_end;
    }
  }
  return std::nullopt;
}

int Run::Running() const {
  return cluster_.Count(ProcessRole::kPs) + cluster_.Count(ProcessRole::kTrainer) +
         cluster_.Count(ProcessRole::kEvaluator);
}

bool Run::Finished(absl::Time now) {
  const bool ps_gone = monitor_.ending() && cluster_.Count(ProcessRole::kPs) == 0;
  if (!ps_gone && !monitor_.complete(now)) {
    complete_at_ = absl::InfiniteFuture();  // a ps that was gone is there again
    return false;
  }
  complete_at_ = std::min(complete_at_, now);
  return Running() == 0 || now - complete_at_ >= kLeaveTime;
}

bool Run::HasFinalEvaluation() const {
  const v1::GetStatusReply& status = monitor_.now();
  if (!options_.eval || status.state() != v1::FINISHED) return true;
  return std::any_of(status.evaluations().begin(), status.evaluations().end(),
                     [](const v1::Evaluation& evaluation) { return evaluation.final(); });
}

void Run::MentionSilence(absl::Time now) {
  const absl::Status error = client_->last_error();
  if (error.ok() || monitor_.ending()) return;
  if (now - std::max(monitor_.last_observed(), silence_mentioned_) < kSilence) return;
  silence_mentioned_ = now;
  Say(absl::StrCat("no answer from ", PsName(0), " at ", cluster_.coordinator(), ": ", error.ToString()));
}

void Run::Draw(absl::Time now) {
  if (block_ != nullptr) {
    // The last column and row stay free: writing there would scroll or wrap.
    const ScreenSize screen = GetScreenSize(STDOUT_FILENO);
    block_->Show(monitor_.observed()
                     ? RenderBlock(monitor_.now(), monitor_.before(), {screen.columns - 1, screen.rows - 1})
                     : std::vector<std::string>{"starting"});
    return;
  }
  if (!monitor_.observed() || now - line_shown_ < options_.display_every) return;
  line_shown_ = now;
  const std::string line = RenderLine(monitor_.now(), monitor_.before());
  if (line == last_line_ && now - line_changed_ < kSameLine) return;
  last_line_ = line;
  line_changed_ = now;
  Say(line);
}

void Run::Say(const std::string& line) {
  if (block_ != nullptr) {
    block_->Print(line);
  } else {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }
}

int Run::End(int exit_code, std::string error) {
  signals_.HearOrdersOnly();
  // The last status stays on the screen when things went wrong: it may say why.
  if (block_ != nullptr && exit_code == 0) block_->Clear();
  if (signal_ != 0) Say("stopping; once more ends everything at once");
  cluster_.Stop(options_.stop_grace, [this] { return signals_.Wait(absl::ZeroDuration()) != 0; });
  block_ = nullptr;
  int code = exit_code;
  if (code == 0) {
    error = LostAtTheEnd();
    if (!error.empty()) code = kExitClusterLost;
  }
  if (monitor_.observed() && monitor_.farthest() != v1::STARTING) {
    Say(RenderSummaryTable(monitor_.now()));
    v1::GetStatusReply with_waits = monitor_.now();
    waits_.Give(&with_waits);
    absl::Status written = WriteAtomically(RealFileSystem(), absl::StrCat(options_.directory, "/", kWaitsFile),
                                           with_waits.SerializeAsString());
    written.Update(WriteResults(options_.directory, options_.summary_json, monitor_.now(), facts_));
    if (written.ok()) {
      Say(absl::StrCat("report: ", options_.directory, "/report.html"));
    } else {
      std::fprintf(stderr, "leeway: %s\n", std::string(written.message()).c_str());
      code = std::max(code, 1);
    }
  }
  if (!error.empty()) std::fprintf(stderr, "leeway: %s%s\n", error.c_str(), HowToGoOn().c_str());
  return code;
}

std::string Run::LostAtTheEnd() const {
  for (int i = 0; i < options_.num_ps; ++i) {
    const std::optional<ProcessExit> exit = cluster_.ExitOf(PsName(i));
    if (!exit || exit->code != kExitClusterLost) continue;  // 2 of ps-0: there is no last checkpoint
    return absl::StrCat("training has finished, but ", PsName(i), " ", Describe(*exit), cluster_.LastLines(PsName(i)));
  }
  return "";
}

std::string Run::HowToGoOn() const {
  if (signal_ == 0 || CheckpointDirIn(options_.ps_flags).empty()) return "";
  return absl::StrCat("; the same command with --out=", options_.directory, " goes on where it was");
}

}  // namespace

int RunLocalCluster(int argc, char** argv) {
  absl::StatusOr<RunOptions> options = RunOptionsFromFlags();
  if (!options.ok()) ExitWithError(options.status());
  absl::StatusOr<RunDirectory> directory = MakeRunDirectory(options->directory, CheckpointDirIn(options->ps_flags));
  if (!directory.ok()) ExitWithError(directory.status());
  options->directory = directory->path;
  if (directory->resumed) {
    std::printf("the run in %s goes on from %s\n", directory->path.c_str(), CheckpointDirIn(options->ps_flags).c_str());
  }
  return Run(*std::move(options), CollectFacts(argc, argv)).Execute();
}

}  // namespace leeway
