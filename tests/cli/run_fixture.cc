#include "tests/cli/run_fixture.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/cli/support.h"

namespace leeway {

RunFixture::RunFixture(double seconds, std::vector<std::string> environment) : environment_(std::move(environment)) {
  static int count = 0;
  directory_ = TemporaryPath(absl::StrCat("run", ++count));
  std::filesystem::create_directories(directory_);
  environment_.push_back("PATH=/usr/bin:/bin");
  environment_.push_back(absl::StrCat("FAKE_PIDS=", directory_));
  environment_.push_back(absl::StrCat("FAKE_SECONDS=", seconds));
}

std::vector<std::string> RunFixture::Command(const std::vector<std::string>& flags) const {
  std::vector<std::string> command = {"cli/leeway",
                                      "run",
                                      absl::StrCat("--out=", directory_, "/out"),
                                      "--ps_binary=tests/cli/fake_ps",
                                      "--worker_binary=tests/cli/fake_worker.sh",
                                      "--data=synthetic:100",
                                      "--display_every=200ms",
                                      "--stop_grace=1s"};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

std::unique_ptr<Process> RunFixture::Start(const std::vector<std::string>& flags) const {
  auto run = Process::Start({"leeway", Command(flags), environment_, directory_ + "/leeway.log"});
  REQUIRE(run.ok());
  return *std::move(run);
}

ProcessExit RunFixture::Finish(Process* run) {
  return WaitForAll({run}, absl::Minutes(1)) ? *run->Poll() : ProcessExit{-1, 0};
}

std::string RunFixture::Output() const { return ReadWholeFile(directory_ + "/leeway.log"); }

std::string RunFixture::File(const std::string& name) const {
  return ReadWholeFile(absl::StrCat(directory_, "/out/", name));
}

bool RunFixture::MadeDirectory() const { return std::filesystem::exists(directory_ + "/out"); }

pid_t RunFixture::PidOf(const std::string& name) const {
  const std::string path = absl::StrCat(directory_, "/", name, ".pid");
  Eventually([&path] { return ReadPid(path) != 0; });
  return ReadPid(path);
}

bool RunFixture::AreGone(const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    const pid_t pid = PidOf(name);
    if (pid == 0 || !Eventually([pid] { return IsDead(pid); })) return false;
  }
  return true;
}

}  // namespace leeway
