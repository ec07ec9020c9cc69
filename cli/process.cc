#include "cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

absl::Status SystemError(const std::string& what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(error)));
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The child's side of Start, between fork and exec: other threads of the parent may have held any lock at
// the fork, so only async-signal-safe calls. What goes wrong is written to `report` as an errno.
[[noreturn]] void RunChild(pid_t parent, int log, int report, char** command, char** environment) {
  // exec resets handlers but keeps "ignore" and the mask.
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above: nobody would kill this child
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0) {
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(command[0], command, environment);
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(report, &error, sizeof(error));
  _exit(127);
}

}  // namespace

std::string Describe(const ProcessExit& exit) {
  if (exit.signal != 0) return absl::StrCat("was killed by signal ", exit.signal, " (", strsignal(exit.signal), ")");
  return absl::StrCat("ended with exit code ", exit.code);
}

absl::StatusOr<std::unique_ptr<Process>> Process::Start(Options options) {
  const int log = open(options.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (log < 0) return SystemError(absl::StrCat("cannot open the log file ", options.log_file), errno);
  const absl::Cleanup close_log = [log] { close(log); };
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return SystemError(absl::StrCat("cannot start ", options.name), errno);
  const absl::Cleanup close_read = [&report] { close(report[0]); };

  // Who was started to ignore the ends of children is not told of them: the system forgets each as it ends.
  struct sigaction ends = {};
  if (sigaction(SIGCHLD, nullptr, &ends) == 0 && ends.sa_handler == SIG_IGN) ::signal(SIGCHLD, SIG_DFL);
  const std::vector<char*> command = Pointers(options.command);
  const std::vector<char*> environment = Pointers(options.environment);
  const pid_t parent = getpid();
  // No handler of this process may run in the child.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  const int fork_error = errno;
  if (pid == 0) {
    RunChild(parent, log, report[1], const_cast<char**>(command.data()), const_cast<char**>(environment.data()));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(report[1]);
  if (pid < 0) return SystemError(absl::StrCat("cannot start ", options.name), fork_error);
  setpgid(pid, pid);  // here as well: a signal to the group must not come before the child's own call

  auto process = std::unique_ptr<Process>(new Process(std::move(options), pid));
  int error = 0;
  ssize_t got;
  do {
    got = read(report[0], &error, sizeof(error));
  } while (got < 0 && errno == EINTR);
  if (got == sizeof(error)) {
    return SystemError(absl::StrCat("cannot start ", process->name(), ": ", process->options_.command[0]), error);
  }
  return process;
}

Process::~Process() {
  while (!Poll()) {
    Signal(SIGKILL);
    WaitForAll({this}, absl::Seconds(1));
  }
}

const std::optional<ProcessExit>& Process::Poll() {
  if (exit_) return exit_;
  siginfo_t info = {};
  // WNOWAIT: until the child is reaped, nobody else can get its process id, so the group is surely its own.
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != pid_) {
    return exit_;
  }
  kill(-pid_, SIGKILL);
  int status = 0;
  if (waitpid(pid_, &status, 0) == pid_) {
    exit_ = WIFSIGNALED(status) ? ProcessExit{0, WTERMSIG(status)} : ProcessExit{WEXITSTATUS(status), 0};
  }
  return exit_;
}

void Process::Signal(int signal) {
  if (!Poll()) kill(-pid_, signal);
}

bool WaitForAll(const std::vector<Process*>& processes, absl::Duration timeout, const std::function<bool()>& hurry) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    bool running = false;
    for (Process* process : processes) running |= !process->Poll();
    if (!running) return true;
    if (absl::Now() >= deadline || (hurry && hurry())) return false;
    poll(nullptr, 0, 20);
  }
}

void StopAll(const std::vector<Process*>& processes, absl::Duration grace, const std::function<bool()>& hurry) {
  for (Process* process : processes) process->Signal(SIGTERM);
  if (WaitForAll(processes, grace, hurry)) return;
  for (Process* process : processes) process->Signal(SIGKILL);
  while (!WaitForAll(processes, absl::Seconds(1))) {
  }
}

}  // namespace leeway
