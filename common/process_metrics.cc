#include "common/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/rpc.h"
#include "common/version.h"

namespace leeway {
namespace {

std::string Read(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

double Number(absl::string_view word) {
  double value = 0;
  return absl::SimpleAtod(word, &value) ? value : 0;
}

// The number behind `key` in a file of lines "key value".
double ValueOf(const std::string& text, absl::string_view key) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() >= 2 && words[0] == key) return Number(words[1]);
  }
  return 0;
}

double OpenFiles() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    ++count;
  }
  return count - 1;  // without the folder itself
}

}  // namespace

void AddProcessMetrics(const std::string& prefix, MetricsPage* page) {
  page->Gauge(absl::StrCat(prefix, "_build_info"), "always 1; what runs here", 1,
              {{"version", kVersion}, {"compiler", Compiler()}, {"protocol", absl::StrCat(kProtocolVersion)}});
  const std::string stat = Read("/proc/self/stat");
  // The second field is the program's name, in parentheses, with whatever is in it.
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(stat.rfind(')') + 1), ' ', absl::SkipEmpty());
  if (fields.size() < 22) return;                                                           // no Linux /proc
  const auto field = [&fields](std::size_t number) { return Number(fields[number - 3]); };  // as proc(5) counts
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  page->Counter("process_cpu_seconds_total", "CPU time of this process, user and system",
                (field(14) + field(15)) / ticks);
  page->Gauge("process_resident_memory_bytes", "memory of this process that is in RAM",
              field(24) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  page->Gauge("process_virtual_memory_bytes", "address space of this process", field(23));
  page->Gauge("process_threads", "threads of this process", field(20));
  page->Gauge("process_open_fds", "files and sockets that this process has open", OpenFiles());
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    page->Gauge("process_max_fds", "files and sockets that this process may open", static_cast<double>(limit.rlim_cur));
  }
  page->Gauge("process_start_time_seconds", "when this process started, in Unix seconds",
              ValueOf(Read("/proc/stat"), "btime") + field(22) / ticks);
}

}  // namespace leeway
