#include "cli/run_directory.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/report/report.h"
#include "cli/report/summary.h"
#include "common/flags.h"
#include "common/machine.h"
#include "common/status_macros.h"
#include "common/version.h"

namespace leeway {
namespace {

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  return file ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path, ": ", strerror(errno)));
}

constexpr char kNewOrEmpty[] = "a directory that is new or empty";

// "" where there is none.
std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Where the ps of the run in `directory` kept their state; "": nowhere.
std::string CheckpointDirOf(const std::string& directory) {
  std::string last;
  for (absl::string_view line : absl::StrSplit(ReadText(absl::StrCat(directory, "/", kCommandsFile)), '\n')) {
    if (!absl::ConsumePrefix(&line, "ps-0: ")) continue;
    // The words are not told apart in it: a folder's name may have spaces.
    constexpr absl::string_view kFlag = " --checkpoint_dir=";
    const std::size_t at = line.rfind(kFlag);
    line.remove_prefix(at == line.npos ? line.size() : at + kFlag.size());
    last = std::string(line.substr(0, line.find(" --")));
  }
  return last;
}

absl::StatusOr<RunDirectory> Locked(const std::string& path, bool resumed) {
  absl::StatusOr<std::unique_ptr<FileLock>> lock = RealFileSystem().Lock(absl::StrCat(path, "/", kCommandsFile));
  if (lock.ok()) return RunDirectory{path, resumed, *std::move(lock)};
  return FlagError("out", path, absl::StrCat(kNewOrEmpty, "; ", lock.status().message(), " (is its run going on?)"));
}

// OK when the run in `path` can be gone on with.
absl::Status CheckEarlierRun(const std::string& path, const std::string& checkpoint_dir) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto refuse = [&path](const std::string& why) {
    return FlagError("out", path, absl::StrCat(kNewOrEmpty, "; ", why));
  };
  if (!fs::exists(absl::StrCat(path, "/", kCommandsFile), error)) {
    const fs::directory_iterator first(path, error);
    return refuse(absl::StrCat("this one holds '", error ? "" : first->path().filename().string(),
                               "' and is not of an earlier run"));
  }
  const std::string summary = ReadText(path + "/summary.json");
  const nlohmann::json json = nlohmann::json::parse(summary, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.value("state", nlohmann::json()) == "finished") {
    return refuse("the run in this one is finished");
  }
  const std::string kept = CheckpointDirOf(path);
  if (kept.empty()) {
    return refuse("the run in this one kept nothing to go on from (its --ps_flags had no --checkpoint_dir)");
  }
  if (kept != checkpoint_dir) {
    return refuse(absl::StrCat("the run in this one can be gone on with if --ps_flags has --checkpoint_dir=", kept,
                               checkpoint_dir.empty() ? "" : absl::StrCat(", not ", checkpoint_dir)));
  }
  return absl::OkStatus();
}

}  // namespace

std::string CheckpointDirIn(const std::vector<std::string>& words) {
  std::string last;
  for (absl::string_view word : words) {
    if (absl::ConsumePrefix(&word, "--checkpoint_dir=")) last = std::string(word);
  }
  return last;
}

absl::StatusOr<RunDirectory> MakeRunDirectory(const std::string& wanted, const std::string& checkpoint_dir) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string path = wanted;
  if (path.empty()) {
    const std::string stem =
        absl::StrCat("runs/", absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()));
    path = stem;
    for (int i = 2; fs::exists(path, error); ++i) path = absl::StrCat(stem, "-", i);
  }
  if (fs::exists(path, error) && !fs::is_directory(path, error)) return FlagError("out", path, kNewOrEmpty);
  if (fs::exists(path, error) && !fs::is_empty(path, error)) {
    RETURN_IF_ERROR(CheckEarlierRun(path, checkpoint_dir));
    ASSIGN_OR_RETURN(RunDirectory directory, Locked(path, /*resumed=*/true));
    // Where the earlier processes listened nobody does now.
    for (const auto& entry : fs::directory_iterator(path, error)) {
      const std::string kind = entry.path().extension().string();
      if (kind == ".port" || kind == ".http") fs::remove(entry.path(), error);
    }
    return directory;
  }
  if (!error) fs::create_directories(path, error);
  if (error) return FlagError("out", path, absl::StrCat("a directory that can be made (", error.message(), ")"));
  return Locked(path, /*resumed=*/false);
}

RunFacts CollectFacts(int argc, char** argv) {
  RunFacts facts;
  for (int i = 0; i < argc; ++i) absl::StrAppend(&facts.command_line, i == 0 ? "" : " ", argv[i]);
  facts.started = absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::Now(), absl::LocalTimeZone());
  facts.machine = absl::StrCat(AvailableCores(), " cores of ", CpuName(), ", ", FormatBytes(TotalMemoryBytes()));
  facts.versions = {{"leeway", kVersion}};
  return facts;
}

absl::Status WriteResults(const std::string& directory, const std::string& copy, const v1::GetStatusReply& status,
                          const RunFacts& facts) {
  const std::string json = RenderSummaryJson(status, facts);
  absl::Status result = WriteFile(absl::StrCat(directory, "/summary.json"), json);
  result.Update(WriteFile(absl::StrCat(directory, "/report.html"), RenderReportHtml(status, facts)));
  if (!copy.empty()) result.Update(WriteFile(copy, json));
  return result;
}

}  // namespace leeway
