#include "common/log.h"

#include <spdlog/formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/flags.h"
#include "common/print_error.h"
#include "common/utf8.h"

namespace leeway {

enum class LogFormat { kText, kJson };

constexpr FlagChoice<LogFormat> kLogFormats[] = {{"text", LogFormat::kText}, {"json", LogFormat::kJson}};

bool AbslParseFlag(absl::string_view text, LogFormat* format, std::string* error) {
  return ParseChoice(text, kLogFormats, format, error);
}
std::string AbslUnparseFlag(LogFormat format) { return ChoiceName(format, kLogFormats); }

// spdlog's own enumeration lies in its namespace, where AbslParseFlag would have to live.
struct LogLevel {
  spdlog::level::level_enum level = spdlog::level::info;
};

constexpr FlagChoice<spdlog::level::level_enum> kLogLevels[] = {
    {"trace", spdlog::level::trace}, {"debug", spdlog::level::debug}, {"info", spdlog::level::info},
    {"warn", spdlog::level::warn},   {"error", spdlog::level::err},   {"off", spdlog::level::off}};

bool AbslParseFlag(absl::string_view text, LogLevel* level, std::string* error) {
  return ParseChoice(text, kLogLevels, &level->level, error);
}
std::string AbslUnparseFlag(LogLevel level) { return ChoiceName(level.level, kLogLevels); }

}  // namespace leeway

ABSL_FLAG(leeway::LogLevel, log_level, {}, "lines below this are not logged: trace, debug, info, warn, error, off");
ABSL_FLAG(leeway::LogFormat, log_format, leeway::LogFormat::kText, "text, or json (an object per line)");
ABSL_FLAG(std::string, log_file, "", "append the log to this file instead of writing it to stderr");

namespace leeway {
namespace {

class JsonFormatter final : public spdlog::formatter {
 public:
  explicit JsonFormatter(std::string process) : process_(std::move(process)) {}

  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    const absl::string_view level(spdlog::level::to_string_view(line.level).data(),
                                  spdlog::level::to_string_view(line.level).size());
    const std::string text = absl::StrCat(
        "{\"time\":\"", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(line.time), absl::UTCTimeZone()),
        "\",\"level\":", JsonString(level), ",\"process\":", JsonString(process_), ",\"thread\":", line.thread_id,
        ",\"message\":", JsonString({line.payload.data(), line.payload.size()}), "}\n");
    out.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(process_); }

 private:
  const std::string process_;
};

}  // namespace

std::string JsonString(absl::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = Utf8Length(text);
    const char c = text[0];
    if (length == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned char>(c));
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + "\"";
}

absl::Status InitLogging(const std::string& process) {
  const std::string path = absl::GetFlag(FLAGS_log_file);
  spdlog::sink_ptr sink;
  if (path.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  } else {
    try {  // spdlog reports a file that it cannot open in no other way
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    } catch (const spdlog::spdlog_ex& error) {
      return FlagError("log_file", path, absl::StrCat("a file that can be written (", error.what(), ")"));
    }
  }
  auto logger = std::make_shared<spdlog::logger>(process, std::move(sink));
  if (absl::GetFlag(FLAGS_log_format) == LogFormat::kJson) {
    logger->set_formatter(std::make_unique<JsonFormatter>(process));
    // Where stderr is the log it holds nothing else.
    if (path.empty()) PrintErrorsBy([](const std::string& message) { spdlog::error("{}", message); });
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%L%$ %n: %v");
  }
  logger->set_level(absl::GetFlag(FLAGS_log_level).level);
  // A log is read while the process runs, and after it was killed.
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

}  // namespace leeway
