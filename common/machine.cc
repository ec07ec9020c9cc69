#include "common/machine.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace leeway {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Calls `visit` with the directory of every control group this process is in, innermost first.
void ForEachControlGroup(const std::string& controller, const std::function<void(const std::string&)>& visit) {
  for (absl::string_view line : absl::StrSplit(ReadFile("/proc/self/cgroup"), '\n', absl::SkipEmpty())) {
    // "0::/a/b" in version 2, "7:cpu,cpuacct:/a/b" in version 1.
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(fields[1], ',');
    const bool unified = fields[1].empty();
    if (!unified && std::find(controllers.begin(), controllers.end(), controller) == controllers.end()) continue;
    const std::string root = unified ? "/sys/fs/cgroup" : absl::StrCat("/sys/fs/cgroup/", controller);
    // In a container the path may be one of the host's; then only the root is there, and it is the container's.
    for (std::string path = fields[2];; path = path.substr(0, path.rfind('/'))) {
      visit(absl::StrCat(root, path == "/" ? "" : path));
      if (path.empty() || path == "/") break;
    }
  }
}

std::uint64_t ReadNumber(const std::string& path, std::uint64_t otherwise) {
  std::uint64_t number = 0;
  return absl::SimpleAtoi(ReadFile(path), &number) ? number : otherwise;  // "max" is no number
}

}  // namespace

std::uint64_t TotalMemoryBytes() {
  std::uint64_t bytes =
      static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  ForEachControlGroup("memory", [&bytes](const std::string& directory) {
    bytes = std::min(
        {bytes, ReadNumber(directory + "/memory.max", bytes), ReadNumber(directory + "/memory.limit_in_bytes", bytes)});
  });
  return bytes;
}

int AvailableCores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  std::uint64_t cores = static_cast<std::uint64_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) cores = static_cast<std::uint64_t>(CPU_COUNT(&mask));
  ForEachControlGroup("cpu", [&cores](const std::string& directory) {
    const std::vector<std::string> words = absl::StrSplit(ReadFile(directory + "/cpu.max"), absl::ByAnyChar(" \n"));
    std::uint64_t quota = 0, period = 0;
    if (words.size() < 2 || !absl::SimpleAtoi(words[0], &quota) || !absl::SimpleAtoi(words[1], &period)) {
      quota = ReadNumber(directory + "/cpu.cfs_quota_us", 0);
      period = ReadNumber(directory + "/cpu.cfs_period_us", 0);
    }
    if (quota > 0 && period > 0) cores = std::min(cores, (quota + period - 1) / period);
  });
  return static_cast<int>(std::max<std::uint64_t>(cores, 1));
}

std::string HostId() {
  const std::string boot(absl::StripAsciiWhitespace(ReadFile("/proc/sys/kernel/random/boot_id")));
  struct stat network {};
  if (boot.empty() || stat("/proc/self/ns/net", &network) != 0) return "";
  return absl::StrCat(boot, "/net:", network.st_ino);
}

std::string CpuName() {
  for (absl::string_view line : absl::StrSplit(ReadFile("/proc/cpuinfo"), '\n')) {
    if (!absl::StartsWith(line, "model name")) continue;
    const std::size_t colon = line.find(':');
    if (colon == absl::string_view::npos) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return "unknown CPU";
}

std::string FormatBytes(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  double value = static_cast<double>(bytes);
  while (value >= 999.5 && unit + 1 < sizeof(kUnits) / sizeof(kUnits[0])) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrFormat("%d B", bytes) : absl::StrFormat("%.3g %s", value, kUnits[unit]);
}

}  // namespace leeway
