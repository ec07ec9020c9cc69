#include "common/log.h"

#include <signal.h>
#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/flags.h"
#include "common/log_file.h"
#include "common/mutex.h"
#include "common/print_error.h"
#include "common/status_macros.h"
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
ABSL_FLAG(std::string, log_file, "",
          "append the log to this file instead of writing it to stderr; it may be moved away or emptied at any time");
ABSL_FLAG(std::uint64_t, log_max_bytes, 0,
          "with --log_file: a file of so many bytes becomes FILE.1, FILE.1 becomes FILE.2 and so on; 0: no limit");
ABSL_FLAG(std::int32_t, log_files_kept, 5, "with --log_max_bytes: how many older files stay, 1 to 1000");

namespace leeway {
namespace {

// Of a message; what is longer is cut. Messages name what came from outside, which may be megabytes.
constexpr std::size_t kLongestMessage = 16 << 10;

absl::string_view Beginning(const spdlog::details::log_msg& line) {
  return absl::string_view(line.payload.data(), line.payload.size()).substr(0, kLongestMessage);
}

// %* of a text line: the message. One line of the log is one message: whatever text from outside stands in it, it
// begins no other line, and does nothing to a terminal.
class OneLine final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& line, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string text = EscapeUnprintable(Beginning(line));
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override { return std::make_unique<OneLine>(); }
};

std::unique_ptr<spdlog::formatter> TextFormatter() {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<OneLine>('*').set_pattern("%Y-%m-%d %H:%M:%S.%e %^%L%$ %n: %*");
  return formatter;
}

class JsonFormatter final : public spdlog::formatter {
 public:
  explicit JsonFormatter(std::string process) : process_(std::move(process)) {}

  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    const absl::string_view level(spdlog::level::to_string_view(line.level).data(),
                                  spdlog::level::to_string_view(line.level).size());
    const std::string text = absl::StrCat(
        "{\"time\":\"", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(line.time), absl::UTCTimeZone()),
        "\",\"level\":", JsonString(level), ",\"process\":", JsonString(process_), ",\"thread\":", line.thread_id,
        ",\"message\":", JsonString(Beginning(line)), "}\n");
    out.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(process_); }

 private:
  const std::string process_;
};

// spdlog's own file sinks keep to the file that they have opened.
class FileSink final : public spdlog::sinks::sink {
 public:
  explicit FileSink(std::unique_ptr<LogFile> file)
      : file_(std::move(file)), formatter_(std::make_unique<spdlog::pattern_formatter>()) {}

  void log(const spdlog::details::log_msg& line) override {
    spdlog::memory_buf_t text;
    {
      MutexLock lock(mu_);
      formatter_->format(line, text);
    }
    file_->Append(text.data(), text.size());
  }
  void flush() override {}
  void set_pattern(const std::string& pattern) override {
    set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
  }
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    MutexLock lock(mu_);
    formatter_ = std::move(formatter);
  }

 private:
  const std::unique_ptr<LogFile> file_;
  Mutex mu_;
  std::unique_ptr<spdlog::formatter> formatter_ LEEWAY_GUARDED_BY(mu_);
};

absl::StatusOr<spdlog::sink_ptr> FileSinkFromFlags(const std::string& path) {
  const std::int32_t kept = absl::GetFlag(FLAGS_log_files_kept);
  if (kept < 1 || kept > 1000) return FlagError("log_files_kept", absl::StrCat(kept), "1 to 1000");
  auto file = std::make_unique<LogFile>(path, absl::GetFlag(FLAGS_log_max_bytes), kept);
  if (absl::Status opened = file->Open(); !opened.ok()) {
    return FlagError("log_file", path, absl::StrCat("a file that can be written (", opened.message(), ")"));
  }
  signal(SIGHUP, SIG_IGN);  // what logrotate sends after it has moved the file
  return std::make_shared<FileSink>(std::move(file));
}

}  // namespace

namespace {

// Of a sequence of at most three bytes: no longer one is a control character.
unsigned CodePoint(absl::string_view sequence) {
  unsigned value = static_cast<unsigned char>(sequence[0]) & (sequence.size() == 1   ? 0x7f
                                                              : sequence.size() == 2 ? 0x1f
                                                                                     : 0x0f);
  for (const char c : sequence.substr(1)) value = value << 6 | (static_cast<unsigned char>(c) & 0x3f);
  return value;
}

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
    } else if (PrintableLength(text) == 0) {
      absl::StrAppendFormat(&out, "\\u%04x", CodePoint(text.substr(0, length)));
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
    if (const std::uint64_t most = absl::GetFlag(FLAGS_log_max_bytes); most > 0) {
      return FlagError("log_max_bytes", absl::StrCat(most), "0 without --log_file");
    }
    sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  } else {
    ASSIGN_OR_RETURN(sink, FileSinkFromFlags(path));
  }
  auto logger = std::make_shared<spdlog::logger>(process, std::move(sink));
  if (absl::GetFlag(FLAGS_log_format) == LogFormat::kJson) {
    logger->set_formatter(std::make_unique<JsonFormatter>(process));
    // Where stderr is the log it holds nothing else.
    if (path.empty()) PrintErrorsBy([](const std::string& message) { spdlog::error("{}", message); });
  } else {
    logger->set_formatter(TextFormatter());
  }
  logger->set_level(absl::GetFlag(FLAGS_log_level).level);
  // A log is read while the process runs, and after it was killed.
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

}  // namespace leeway
