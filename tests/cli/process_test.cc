#include "cli/process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/signals.h"
#include "tests/catch.h"
#include "tests/cli/support.h"

namespace leeway {
namespace {

Process::Options Shell(const std::string& script, const std::string& log = TemporaryPath("process_test_log")) {
  return {"child", {"/bin/sh", "-c", script}, {"PATH=/usr/bin:/bin", "GREETING=hello"}, log};
}

TEST_CASE("a child's exit code, output and environment") {
  const std::string log = TemporaryPath("process_test_output");
  std::remove(log.c_str());
  auto child = Process::Start(Shell("echo $GREETING; echo oops >&2; cat; exit 3", log));
  REQUIRE(child.ok());
  REQUIRE(WaitForAll({child->get()}, absl::Seconds(10)));
  const std::optional<ProcessExit> exit = (*child)->Poll();
  CHECK(exit->code == 3);
  CHECK_FALSE(exit->ok());
  CHECK(Describe(*exit) == "ended with exit code 3");
  CHECK(ReadWholeFile(log) == "hello\noops\n");
}

TEST_CASE("a child that a signal kills") {
  auto child = Process::Start(Shell("kill -9 $$"));
  REQUIRE(child.ok());
  REQUIRE(WaitForAll({child->get()}, absl::Seconds(10)));
  CHECK((*child)->Poll()->signal == SIGKILL);
  CHECK(Describe(*(*child)->Poll()) == "was killed by signal 9 (Killed)");
}

TEST_CASE("a program or log file that is not there is an error that names it") {
  Process::Options options = Shell("");
  options.command[0] = "/no/such/program";
  const absl::Status no_program = Process::Start(options).status();
  CHECK(no_program.code() == absl::StatusCode::kUnavailable);
  CHECK(no_program.message() == "cannot start child: /no/such/program: No such file or directory");
  const absl::Status no_log = Process::Start(Shell("", "/no/such/log")).status();
  CHECK(no_log.message() == "cannot open the log file /no/such/log: No such file or directory");
}

TEST_CASE("StopAll ends a willing child by SIGTERM and a stubborn one by SIGKILL, with their children") {
  const std::string ready = TemporaryPath("process_test_ready");
  const std::string grandchild = TemporaryPath("process_test_grandchild");
  auto willing =
      Process::Start(Shell(absl::StrCat("trap 'exit 7' TERM; echo 1 > ", ready, "; while :; do sleep 0.05; done")));
  auto stubborn = Process::Start(
      Shell(absl::StrCat("trap '' TERM; sleep 1000 & echo $! > ", grandchild, "; while :; do sleep 1000; done")));
  REQUIRE(willing.ok());
  REQUIRE(stubborn.ok());
  REQUIRE(Eventually([&] { return ReadPid(ready) != 0 && ReadPid(grandchild) != 0; }));
  StopAll({willing->get(), stubborn->get()}, absl::Seconds(1));
  CHECK((*willing)->Poll()->code == 7);
  CHECK((*stubborn)->Poll()->signal == SIGKILL);
  CHECK(Eventually([&] { return IsDead(ReadPid(grandchild)); }));
}

TEST_CASE("what a child leaves in its group when it ends is killed") {
  const std::string path = TemporaryPath("process_test_orphan");
  auto child = Process::Start(Shell(absl::StrCat("sleep 1000 & echo $! > ", path)));
  REQUIRE(child.ok());
  REQUIRE(WaitForAll({child->get()}, absl::Seconds(10)));
  CHECK((*child)->Poll()->ok());
  CHECK(Eventually([&] { return IsDead(ReadPid(path)); }));
}

TEST_CASE("the destructor kills the child") {
  const std::string path = TemporaryPath("process_test_destroyed");
  {
    auto child =
        Process::Start(Shell(absl::StrCat("trap '' TERM INT; echo $$ > ", path, "; while :; do sleep 1; done")));
    REQUIRE(child.ok());
    REQUIRE(Eventually([&] { return ReadPid(path) != 0; }));
  }
  CHECK(IsDead(ReadPid(path)));
}

TEST_CASE("kill -9 of the parent leaves no child behind") {
  const std::string path = TemporaryPath("process_test_left");
  const pid_t parent = fork();
  if (parent == 0) {
    auto child =
        Process::Start(Shell(absl::StrCat("trap '' TERM HUP; echo $$ > ", path, "; while :; do sleep 1; done")));
    pause();
    _exit(child.ok() ? 0 : 1);
  }
  REQUIRE(Eventually([&] { return ReadPid(path) != 0; }));
  CHECK_FALSE(IsDead(ReadPid(path)));
  kill(parent, SIGKILL);
  REQUIRE(waitpid(parent, nullptr, 0) == parent);
  CHECK(Eventually([&] { return IsDead(ReadPid(path)); }));
}

TEST_CASE("children do not inherit ignored or blocked signals") {
  signal(SIGPIPE, SIG_IGN);
  auto child = Process::Start(Shell("kill -PIPE $$; exit 5"));
  signal(SIGPIPE, SIG_DFL);
  REQUIRE(child.ok());
  REQUIRE(WaitForAll({child->get()}, absl::Seconds(10)));
  CHECK((*child)->Poll()->signal == SIGPIPE);
}

TEST_CASE("how a child has ended is known although this process was started to ignore its children") {
  signal(SIGCHLD, SIG_IGN);
  auto child = Process::Start(Shell("exit 3"));
  const bool ended = child.ok() && WaitForAll({child->get()}, absl::Seconds(10));
  signal(SIGCHLD, SIG_DFL);
  REQUIRE(ended);
  CHECK((*child)->Poll()->code == 3);
}

TEST_CASE("the watcher reports ending signals and wakes for a child's death") {
  SignalWaiter signals;
  CHECK(signals.Wait(absl::ZeroDuration()) == 0);
  raise(SIGINT);
  CHECK(signals.Wait(absl::ZeroDuration()) == SIGINT);
  CHECK(signals.Wait(absl::ZeroDuration()) == 0);

  auto child = Process::Start(Shell("exit 0"));
  REQUIRE(child.ok());
  const absl::Time start = absl::Now();
  CHECK(signals.Wait(absl::Seconds(30)) == 0);
  CHECK(absl::Now() - start < absl::Seconds(20));
  CHECK(WaitForAll({child->get()}, absl::Seconds(10)));
}

TEST_CASE("the watcher hears what somebody orders through what a closed pipe or terminal says") {
  SignalWaiter signals;
  raise(SIGHUP);
  CHECK(signals.Wait(absl::ZeroDuration()) == SIGHUP);
  signals.HearOrdersOnly();
  raise(SIGHUP);
  raise(SIGPIPE);
  CHECK(signals.Wait(absl::ZeroDuration()) == 0);
  raise(SIGPIPE);
  raise(SIGTERM);
  CHECK(signals.Wait(absl::ZeroDuration()) == SIGTERM);
}

}  // namespace
}  // namespace leeway
