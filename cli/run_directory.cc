#include "cli/run_directory.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/report/report.h"
#include "cli/report/summary.h"
#include "common/flags.h"
#include "common/machine.h"
#include "common/version.h"

namespace leeway {
namespace {

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  return file ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

}  // namespace

absl::StatusOr<std::string> MakeRunDirectory(const std::string& wanted) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string path = wanted;
  if (path.empty()) {
    const std::string stem =
        absl::StrCat("runs/", absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()));
    path = stem;
    for (int i = 2; fs::exists(path, error); ++i) path = absl::StrCat(stem, "-", i);
  }
  if (fs::exists(path, error) && (!fs::is_directory(path, error) || !fs::is_empty(path, error))) {
    return FlagError("out", path, "a directory that is new or empty");
  }
  if (!error) fs::create_directories(path, error);
  if (error) return FlagError("out", path, absl::StrCat("a directory that can be made (", error.message(), ")"));
  return path;
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
