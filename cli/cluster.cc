#include "cli/cluster.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/run_directory.h"
#include "common/exit_code.h"
#include "common/socket.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr absl::Duration kRestartDelay = absl::Seconds(2);
constexpr absl::Duration kPsRestartDelay = absl::Milliseconds(200);  // everybody waits for it
constexpr int kMaxRestarts = 20;                                     // of one process: more is no accident
// Of a process that would end in the same way again.
constexpr int kNotAgain[] = {kExitBadInput, kExitQuarantined, kExitRunFailed};
constexpr std::size_t kQuotedBytes = 4096;
constexpr std::size_t kQuotedLines = 8;

// This process's own, without the LEEWAY_ variables: what they say is handed on as flags, to those it
// concerns. Those that steer tests stay.
std::vector<std::string> ChildEnvironment() {
  std::vector<std::string> environment;
  for (char** word = environ; *word != nullptr; ++word) {
    if (!absl::StartsWith(*word, "LEEWAY_") || absl::StartsWith(*word, "LEEWAY_TEST_")) environment.emplace_back(*word);
  }
  return environment;
}

}  // namespace

LocalCluster::LocalCluster(RunOptions options) : options_(std::move(options)), environment_(ChildEnvironment()) {}

LocalCluster::~LocalCluster() { Stop(absl::ZeroDuration(), nullptr); }

std::string LocalCluster::LogFile(const std::string& name) const {
  return absl::StrCat(options_.directory, "/", name, ".log");
}

absl::Status LocalCluster::LaunchProcess(const std::string& name, Child* child) {
  ASSIGN_OR_RETURN(child->process, Process::Start({name, child->command, environment_, LogFile(name)}));
  child->ended = false;
  child->restart_at = absl::InfiniteFuture();
  return absl::OkStatus();
}

absl::Status LocalCluster::Launch(const std::string& name, ProcessRole role, std::vector<std::string> command) {
  std::ofstream(absl::StrCat(options_.directory, "/", kCommandsFile), std::ios::app)
      << name << ": " << absl::StrJoin(command, " ") << "\n";
  Child child;
  child.role = role;
  child.command = std::move(command);
  RETURN_IF_ERROR(LaunchProcess(name, &child));
  children_.emplace_back(name, std::move(child));
  return absl::OkStatus();
}

absl::Status LocalCluster::Start(const std::function<bool(absl::Duration)>& wait) {
  RETURN_IF_ERROR(Launch(PsName(0), ProcessRole::kPs, PsCommand(options_, 0, "")));
  RETURN_IF_ERROR(AwaitCoordinator(wait));
  for (int i = 1; i < options_.num_ps; ++i) {
    RETURN_IF_ERROR(Launch(PsName(i), ProcessRole::kPs, PsCommand(options_, i, coordinator_)));
  }
  if (options_.eval) {
    RETURN_IF_ERROR(Launch(kEvaluatorName, ProcessRole::kEvaluator, EvaluatorCommand(options_, coordinator_)));
  }
  for (int i = 0; i < options_.num_workers; ++i) {
    RETURN_IF_ERROR(Launch(WorkerName(i), ProcessRole::kTrainer, WorkerCommand(options_, i, coordinator_)));
  }
  return absl::OkStatus();
}

absl::Status LocalCluster::AwaitCoordinator(const std::function<bool(absl::Duration)>& wait) {
  Process* ps = children_.front().second.process.get();
  while (true) {
    std::ifstream file(PortFile(options_, 0));
    std::string address;
    if (std::getline(file, address)) {
      coordinator_ = std::string(absl::StripAsciiWhitespace(address));
      std::ifstream(HttpPortFile(options_)) >> status_page_;  // which is there, if at all, before the other one
      return SplitAddress(coordinator_).status();
    }
    if (ps->Poll()) {
      const std::string what = absl::StrCat(ps->name(), " ", Describe(*ps->Poll()), LastLines(ps->name()));
      return ps->Poll()->code == kExitBadInput ? absl::InvalidArgumentError(what) : absl::UnavailableError(what);
    }
    if (!wait(absl::Milliseconds(20))) return absl::CancelledError("interrupted while ps-0 was starting");
  }
}

absl::StatusOr<std::vector<LocalCluster::Ended>> LocalCluster::Reap(absl::Time now, bool finished) {
  std::vector<Ended> news;
  for (auto& [name, child] : children_) {
    if (child.restart_at <= now) RETURN_IF_ERROR(LaunchProcess(name, &child));
    if (child.ended || !child.process->Poll()) continue;
    child.ended = true;
    const ProcessExit exit = *child.process->Poll();
    // Nobody else keeps the weights that training ends with.
    const bool evaluator = child.role == ProcessRole::kEvaluator;
    const bool wanted =
        child.role == ProcessRole::kPs ? options_.restart_ps && !finished : evaluator || options_.restart_workers;
    const bool again = !exit.ok() && std::count(std::begin(kNotAgain), std::end(kNotAgain), exit.code) == 0;
    news.push_back({name, child.role, exit, wanted && again && Restart(name, now, &child)});
  }
  return news;
}

bool LocalCluster::Restart(const std::string& name, absl::Time now, Child* child) {
  if (child->restarts >= kMaxRestarts) return false;
  ++child->restarts;
  child->restart_at = now + (child->role == ProcessRole::kPs ? kPsRestartDelay : kRestartDelay);
  if (name != PsName(0)) return true;
  child->command[1] = absl::StrCat("--listen=", coordinator_);
  for (std::string& word : child->command) {  // whoever watches goes on watching
    if (status_page_.empty() || !absl::StartsWith(word, "--http_port=")) continue;
    word = absl::StrCat("--http_port=", status_page_.substr(status_page_.rfind(':') + 1));
  }
  return true;
}

bool LocalCluster::Restart(const std::string& name, absl::Time now) {
  const auto child = std::find_if(children_.begin(), children_.end(), [&](const auto& it) { return it.first == name; });
  return child != children_.end() && child->second.ended && Restart(name, now, &child->second);
}

pid_t LocalCluster::Pid(const std::string& name) const {
  for (const auto& [child_name, child] : children_) {
    if (child_name == name) return child.process->pid();
  }
  return 0;
}

std::optional<ProcessExit> LocalCluster::ExitOf(const std::string& name) const {
  for (const auto& [child_name, child] : children_) {
    if (child_name == name) return child.process->Poll();
  }
  return std::nullopt;
}

int LocalCluster::Count(ProcessRole role) const {
  return static_cast<int>(std::count_if(children_.begin(), children_.end(), [role](const auto& entry) {
    const Child& child = entry.second;
    return child.role == role && (!child.ended || child.restart_at != absl::InfiniteFuture());
  }));
}

void LocalCluster::Stop(absl::Duration grace, const std::function<bool()>& hurry) {
  bool hurried = false;  // and so is who is stopped later
  const auto hurries = [&] { return hurried = hurried || (hurry && hurry()); };
  for (const bool ps : {false, true}) {
    std::vector<Process*> processes;
    for (auto& [name, child] : children_) {
      child.restart_at = absl::InfiniteFuture();
      if ((child.role == ProcessRole::kPs) == ps) processes.push_back(child.process.get());
    }
    StopAll(processes, grace, hurries);
  }
}

std::string LocalCluster::LastLines(const std::string& name) const {
  std::ifstream file(LogFile(name), std::ios::binary | std::ios::ate);
  const std::streamoff size = file.tellg();
  if (size <= 0) return "";
  const std::size_t count = std::min<std::size_t>(static_cast<std::size_t>(size), kQuotedBytes);
  std::string text(count, '\0');
  file.seekg(-static_cast<std::streamoff>(count), std::ios::end);
  file.read(text.data(), static_cast<std::streamsize>(count));
  std::vector<std::string> lines = absl::StrSplit(absl::StripTrailingAsciiWhitespace(text), '\n');
  if (lines.size() > kQuotedLines) lines.erase(lines.begin(), lines.end() - kQuotedLines);
  return absl::StrCat("; the end of ", LogFile(name), ":\n    ", absl::StrJoin(lines, "\n    "));
}

}  // namespace leeway
