// `leeway run` as a person sees it, on stand-ins for ps and worker.
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/catch.h"
#include "tests/cli/run_fixture.h"
#include "tests/cli/support.h"

namespace leeway {
namespace {

const std::vector<std::string> kAll = {"ps-0", "ps-1", "worker-0", "worker-1", "eval"};
const std::vector<std::string> kTwoAndTwo = {"--num_ps=2", "--num_workers=2"};
const std::string kDir = "--ps_flags=--checkpoint_dir=/no/ps/looks/there";

TEST_CASE("a run trains, shows how it goes, leaves its results and no process") {
  const RunFixture run(3);
  const ProcessExit exit = run.Run(kTwoAndTwo);
  const std::string output = run.Output();
  INFO(output);
  CHECK(exit.ok());
  CHECK(absl::StrContains(output, ": 2 ps, 2 workers and an evaluator on "));
  CHECK(absl::StrContains(output, "starting: 1 of 2 workers have come\n"));
  CHECK(absl::StrContains(output, " of 3  loss 0."));
  CHECK(absl::StrContains(output, " (bound 3)"));
  CHECK(absl::StrContains(output, "report: "));
  CHECK_FALSE(absl::StrContains(output, "\x1b["));  // a file is no terminal
  const nlohmann::json summary = nlohmann::json::parse(run.File("summary.json"));
  CHECK(summary["state"] == "finished");
  CHECK(summary["failure"] == "");
  CHECK(summary["weights_crc32c"] == "abcdef01");
  CHECK(summary["samples"] == 3000);
  CHECK(absl::StrContains(run.File("report.html"), "</html>"));
  CHECK(absl::StrContains(run.File("worker-1.log"), "worker-1 was started again: no"));
  CHECK(absl::StrContains(run.File("commands.txt"), "ps-1: tests/cli/fake_ps --listen=127.0.0.1:0"));
  CHECK(absl::StrContains(run.File("commands.txt"), "--role=eval"));
  CHECK(run.AreGone(kAll));
}

TEST_CASE("a ps that dies ends the run and its log is quoted") {
  const RunFixture run(4, {"FAKE_DIE=ps-1"});
  const ProcessExit exit = run.Run(kTwoAndTwo);
  const std::string output = run.Output();
  INFO(output);
  CHECK(exit.code == 2);
  CHECK(absl::StrContains(output, "leeway: ps-1 ended with exit code 3 before training had finished; the end of "));
  CHECK(absl::StrContains(output, "ps-1.log:\n    disk on fire\n"));
  CHECK_FALSE(run.File("summary.json").empty());  // of what was seen
  CHECK(run.AreGone(kAll));
}

TEST_CASE("a ps whose flags do not fit the model ends the run as bad flags do") {
  const RunFixture run(4, {"FAKE_DIE=ps-1", "FAKE_CODE=1"});
  CHECK(run.Run({"--num_ps=2", "--num_workers=2", "--restart_ps", kDir}).code == 1);
  CHECK(absl::StrContains(run.Output(), "leeway: ps-1 ended with exit code 1 before training had finished"));
  CHECK(run.AreGone(kAll));
}

TEST_CASE("a ps that dies when the run is finished has nothing left to lose") {
  const RunFixture run(2, {"FAKE_DIE=ps-1", "FAKE_DIE_AT=1.4", "FAKE_CODE=kill"});
  const ProcessExit exit = run.Run(kTwoAndTwo);
  INFO(run.Output());
  CHECK(exit.ok());
  CHECK(run.AreGone(kAll));
}

TEST_CASE("ps-0 says by its exit code that it has no last checkpoint, however it ends") {
  const auto [at, flags] = GENERATE(values<std::pair<std::string, std::vector<std::string>>>(
      {{"1.4", {"--num_ps=2"}}, {"1.4", {"--num_ps=2", "--restart_ps", kDir}}, {"inf", {"--num_ps=2"}}}));
  const RunFixture run(2, {"FAKE_DIE=ps-0", "FAKE_DIE_AT=" + at, "FAKE_CODE=2"});
  const ProcessExit exit = run.Run(flags);
  const std::string output = run.Output();
  INFO(output);
  CHECK(exit.code == 2);
  CHECK(absl::StrContains(output, "leeway: training has finished, but ps-0 ended with exit code 2; the end of "));
  CHECK(absl::StrContains(output, "    disk on fire\n"));
  CHECK_FALSE(absl::StrContains(output, "started again"));
  CHECK(nlohmann::json::parse(run.File("summary.json"))["state"] == "finished");
  CHECK(run.AreGone({"ps-0", "ps-1", "worker-0", "eval"}));
}

TEST_CASE("a worker that dies is reported, and the run goes on") {
  const RunFixture run(2, {"FAKE_DIE=worker-1"});
  const ProcessExit exit = run.Run(kTwoAndTwo);
  const std::string output = run.Output();
  INFO(output);
  CHECK(exit.ok());
  CHECK(absl::StrContains(output, "worker-1 ended with exit code 5; the end of "));
  CHECK(absl::StrContains(output, "worker-1 ran out of luck"));
  CHECK(run.AreGone(kAll));
}

TEST_CASE("an evaluator that dies is started again: nobody else keeps the final weights") {
  const RunFixture run(2, {"FAKE_DIE=eval"});
  CHECK(run.Run(kTwoAndTwo).ok());
  CHECK(absl::StrContains(run.Output(), "eval will be started again"));
  CHECK(absl::StrContains(run.File("eval.log"), "eval was started again: yes"));
  CHECK(run.AreGone(kAll));
}

TEST_CASE("an evaluator that cannot go on fails the run, but after training has ended and its results are written") {
  const RunFixture run(2, {"FAKE_DIE=eval", "FAKE_CODE=1"});
  const ProcessExit exit = run.Run(kTwoAndTwo);
  const std::string output = run.Output();
  INFO(output);
  CHECK(exit.code == 2);
  CHECK(absl::StrContains(output, "eval ran out of luck"));
  CHECK(absl::StrContains(output, "leeway: eval ended with exit code 1\n"));
  CHECK(nlohmann::json::parse(run.File("summary.json"))["state"] == "finished");
  CHECK(run.AreGone(kAll));
}

TEST_CASE("a run whose final weights nobody has evaluated fails, after its results are written") {
  const RunFixture run(2, {"FAKE_NOT_FINAL=1"});
  CHECK(run.Run(kTwoAndTwo).code == 2);
  CHECK(absl::StrContains(run.Output(), "leeway: no evaluator was there at the end: the final weights are not "));
  CHECK(nlohmann::json::parse(run.File("summary.json"))["state"] == "finished");
  const RunFixture none(2, {"FAKE_NOT_FINAL=1"});
  CHECK(none.Run({"--num_ps=2", "--num_workers=2", "--eval=false"}).ok());
}

TEST_CASE("a ps that has much to read before it listens is waited for, and leeway says so") {
  const RunFixture run(2, {"FAKE_LATE=11"});
  const ProcessExit exit = run.Run({"--num_workers=2"});
  const std::string output = run.Output();
  INFO(output);
  CHECK(exit.ok());
  CHECK(absl::StrContains(output, "ps-0 does not listen yet; the end of "));
  CHECK(absl::StrContains(output, "    reads its journal\n"));
}

TEST_CASE("a run that has failed by its end says so, and nobody is started again for it") {
  const RunFixture run(2, {"FAKE_FAILURE=the loss has diverged"});
  const ProcessExit exit = run.Run({"--num_ps=2", "--num_workers=2", "--restart_workers", "--restart_ps", kDir});
  const std::string output = run.Output();
  INFO(output);
  CHECK(exit.code == 4);
  CHECK(absl::StrContains(output, "leeway: the run has failed: the loss has diverged\n"));
  CHECK_FALSE(absl::StrContains(output, "started again"));
  CHECK(nlohmann::json::parse(run.File("summary.json"))["failure"] == "the loss has diverged");
  CHECK(run.AreGone(kAll));
}

TEST_CASE("with --restart_workers it comes back") {
  const RunFixture run(4, {"FAKE_DIE=worker-1"});
  CHECK(run.Run({"--num_workers=2", "--restart_workers"}).ok());
  CHECK(absl::StrContains(run.Output(), "worker-1 will be started again"));
  CHECK(absl::StrContains(run.File("worker-1.log"), "worker-1 was started again: yes"));
  CHECK(run.AreGone({"ps-0", "worker-0", "worker-1", "eval"}));
}

TEST_CASE("when the last worker has died the run is given up") {
  const RunFixture run(20, {"FAKE_DIE=worker-0"});
  const ProcessExit exit = run.Run({"--eval=false"});
  INFO(run.Output());
  CHECK(exit.code == 2);
  CHECK(absl::StrContains(run.Output(), "leeway: no worker is left to train\n"));
  CHECK(run.AreGone({"ps-0", "worker-0"}));
}

TEST_CASE("when no worker can go on with the run, it ends as it would again: with 1") {
  const RunFixture run(6, {"FAKE_DIE=worker-0", "FAKE_CODE=1"});
  const ProcessExit exit = run.Run({"--eval=false", "--restart_workers"});
  INFO(run.Output());
  CHECK(exit.code == 1);
  CHECK(absl::StrContains(run.Output(), "worker-0 ran out of luck"));
  CHECK(absl::StrContains(run.Output(), "leeway: no worker can go on with this run\n"));
  CHECK(run.AreGone({"ps-0", "worker-0"}));
}

TEST_CASE("of several workers one that can go on is enough") {
  const RunFixture run(2, {"FAKE_DIE=worker-1", "FAKE_CODE=1"});
  CHECK(run.Run({"--num_workers=2", "--eval=false"}).ok());
  CHECK(absl::StrContains(run.Output(), "worker-1 ran out of luck"));
}

TEST_CASE("--help lists what can be given") {
  const RunFixture run(1);
  CHECK(run.Run({"--help"}).ok());
  const std::string output = run.Output();
  for (const char* taken : {"num_ps", "model", "staleness_bound", "http_port", "tls_ca_file"}) {
    CHECK(absl::StrContains(output, absl::StrCat("\n  --", taken, "=")));
  }
  for (const char* refused : {"coordinator", "http_port_file", "name", "rank", "role"}) {
    CHECK_FALSE(absl::StrContains(output, absl::StrCat("\n  --", refused, "=")));
  }
}

TEST_CASE("Ctrl-C ends everything, also a worker that ignores SIGTERM") {
  const RunFixture run(60, {"FAKE_STUBBORN=worker-0"});
  const auto process = run.Start(kTwoAndTwo);
  for (const std::string& name : kAll) REQUIRE(run.PidOf(name) != 0);
  kill(process->pid(), SIGINT);
  CHECK(RunFixture::Finish(process.get()).code == 130);
  CHECK(absl::StrContains(run.Output(), "leeway: interrupted\n"));
  CHECK(run.AreGone(kAll));
}

TEST_CASE("SIGTERM likewise, with its own exit code, and a second one does not wait for the grace of anybody") {
  const RunFixture run(60, {"FAKE_STUBBORN=worker-0", "FAKE_STUBBORN_PS=ps-0"});
  const auto process = run.Start({"--num_workers=2", "--stop_grace=10m"});
  for (const char* name : {"ps-0", "worker-0", "worker-1", "eval"}) REQUIRE(run.PidOf(name) != 0);
  kill(process->pid(), SIGTERM);
  REQUIRE(Eventually([&] { return absl::StrContains(run.Output(), "once more ends everything at once"); }));
  kill(process->pid(), SIGTERM);
  CHECK(RunFixture::Finish(process.get()).code == 128 + SIGTERM);
  CHECK(run.AreGone({"ps-0", "worker-0", "worker-1", "eval"}));
}

TEST_CASE("a terminal or a pipe that is closed says so again and again: nobody's end is cut short by it") {
  const RunFixture run(60, {"FAKE_TIDY=worker-0"});
  const auto process = run.Start({"--num_workers=2", "--stop_grace=1m"});
  for (const char* name : {"ps-0", "worker-0", "worker-1", "eval"}) REQUIRE(run.PidOf(name) != 0);
  kill(process->pid(), SIGHUP);
  REQUIRE(Eventually([&] { return absl::StrContains(run.Output(), "once more ends everything at once"); }));
  kill(process->pid(), SIGHUP);
  kill(process->pid(), SIGPIPE);
  CHECK(RunFixture::Finish(process.get()).code == 128 + SIGHUP);
  CHECK(absl::StrContains(run.File("worker-0.log"), "worker-0 has ended in good order"));
}

TEST_CASE("kill -9 of leeway leaves nothing behind") {
  const RunFixture run(60, {"FAKE_STUBBORN=worker-0"});
  const auto process = run.Start(kTwoAndTwo);
  for (const std::string& name : kAll) REQUIRE(run.PidOf(name) != 0);
  kill(process->pid(), SIGKILL);
  CHECK(RunFixture::Finish(process.get()).signal == SIGKILL);
  CHECK(run.AreGone(kAll));
}

TEST_CASE("bad flags are one line and nothing is started") {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"--num_ps=0"}, "leeway: --num_ps=0: allowed: 1 to 64\n"},
      {{"--num_wrokers=3"},
       "leeway: unknown flag --num_wrokers, did you mean --num_workers? (--help lists all); a flag of ps goes into "
       "--ps_flags, as in --ps_flags=\"--lease=2s\"\n"},
      {{"--straggle=7:4"},
       "leeway: --straggle=7:4: allowed: worker:factor with a worker from 0 to 0 and a factor"
       " of at least 1\n"},
      {{"--worker_flags=0:--no_such=1"},
       "leeway: --worker_flags=--no_such=1: allowed: flags of the worker that "
       "leeway run does not set itself\n"},
      {{"--ps_binary=/no/ps"}, "leeway: no program at /no/ps; --ps_binary=FILE says where it is\n"},
      {{"--out=/dev/null"}, "leeway: --out=/dev/null: allowed: a directory that is new or empty\n"},
      {{"--model=resnet"}, "leeway: --model=resnet: allowed are softmax, mlp[:hidden,...], cnn, gpt[:sizes]\n"},
      {{"--data=/no/such"}, "leeway: /no/such: is no directory; one with IDX files is expected\n"},
      {{"--name=x"}, "leeway: --name=x: allowed: nothing: leeway run sets this flag itself\n"},
      {{"--restart_ps"},
       "leeway: --restart_ps=true: allowed: with a --checkpoint_dir in --ps_flags: without one a ps that dies has lost "
       "its "
       "weights, and nobody can go on\n"},
      {{"what"}, "leeway: leeway run takes flags only, not \"what\"\n"},
  };
  for (const auto& [flags, expected] : cases) {
    const RunFixture run(1);
    CHECK(run.Run(flags).code == 1);
    CHECK(run.Output() == expected);
    CHECK_FALSE(run.MadeDirectory());
  }
}

TEST_CASE("on a terminal the block is redrawn in place and the cursor comes back") {
  const RunFixture run(2);
  const std::vector<std::string> words = run.Command({"--num_workers=2"});
  winsize size = {24, 60, 0, 0};
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  if (pid == 0) {
    std::vector<char*> argv, environment;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    for (const std::string& word : run.environment()) environment.push_back(const_cast<char*>(word.c_str()));
    environment.push_back(const_cast<char*>("TERM=xterm"));
    argv.push_back(nullptr);
    environment.push_back(nullptr);
    execve(argv[0], argv.data(), environment.data());
    _exit(127);
  }
  REQUIRE(pid > 0);
  std::string output;
  char buffer[4096];
  ssize_t got;
  while ((got = read(terminal, buffer, sizeof(buffer))) > 0) output.append(buffer, static_cast<std::size_t>(got));
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  close(terminal);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(absl::StrContains(output, "\x1b[?25l"));
  CHECK(absl::StrContains(output, "training fake, epoch "));
  CHECK(absl::StrContains(output, "  worker-1  clock "));
  CHECK(absl::StrContains(output, "\x1b[4A"));  // state, figures, two workers
  CHECK(output.rfind("\x1b[?25h") > output.rfind("\x1b[?25l"));
  CHECK(run.AreGone({"ps-0", "worker-0", "worker-1", "eval"}));
}

}  // namespace
}  // namespace leeway
