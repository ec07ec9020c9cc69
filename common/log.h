// Logging through spdlog: where lines go and how they look. Code logs with spdlog::info(...) and its
// siblings; this header brings them in, with formatters for the Abseil types that lines often carry.
//
//   --log_level=trace|debug|info|warn|error|off   --log_format=text|json   --log_file=FILE (else stderr)
//   --log_max_bytes=N   --log_files_kept=N (common/log_file.h)
//
// Thread safety: InitLogging from main() before threads start; logging from any thread.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace leeway {

// Makes spdlog's default logger as the flags say. `process` ("worker-2") stands in every line.
// With --log_file SIGHUP is ignored: the file may be moved away at any time, nobody needs to be told.
// INVALID_ARGUMENT: --log_file cannot be opened (with the system's reason), or flags that contradict each other.
absl::Status InitLogging(const std::string& process);

// `text` as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD.
std::string JsonString(absl::string_view text);

}  // namespace leeway

template <>
struct fmt::formatter<absl::string_view> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(absl::string_view text, Context& context) const {
    return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
  }
};

template <>
struct fmt::formatter<absl::Status> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(const absl::Status& status, Context& context) const {
    const std::string text = status.ToString();
    return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
  }
};

template <>
struct fmt::formatter<absl::Duration> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(absl::Duration duration, Context& context) const {
    const std::string text = absl::FormatDuration(duration);
    return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
  }
};
