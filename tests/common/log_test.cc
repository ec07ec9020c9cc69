#include "common/log.h"
#include "common/log_every.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <utility>

#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "nlohmann/json.hpp"
#include "tests/catch.h"

namespace leeway {
namespace {

// What the default logger wrote to a file while `log` ran, under `format` and `level`.
std::string Logged(const std::string& format, const std::string& level, const std::function<void()>& log) {
  const char* directory = std::getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(directory == nullptr ? "/tmp" : directory, "/log_test_", format, "_", level);
  std::remove(path.c_str());
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--log_file=" + path, "--log_format=" + format, "--log_level=" + level}, {}, nullptr).ok());
  REQUIRE(InitLogging("worker-2").ok());
  log();
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST_CASE("JSON lines hold any message, whatever its bytes") {
  const std::string nasty = "quote \" backslash \\ newline \n tab \t nul-ish \x01 euro \xe2\x82\xac";
  const std::string text = Logged("json", "info", [&nasty] { spdlog::warn("{}", nasty); });
  REQUIRE(std::count(text.begin(), text.end(), '\n') == 1);
  const nlohmann::json line = nlohmann::json::parse(text);
  CHECK(line["message"] == nasty);
  CHECK(line["level"] == "warning");
  CHECK(line["process"] == "worker-2");
  CHECK(absl::EndsWith(line["time"].get<std::string>(), "Z"));
}

TEST_CASE("a text line is one line, whatever stands in its message") {
  const std::string text = Logged("text", "info", [] {
    spdlog::info("worker 'w\n2026-11-26 06:34:16.341 E ps-0: forged \x1b[2J \xc2\x9b' joins, \xe2\x82\xac");
  });
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  CHECK(absl::StrContains(text, R"(worker 'w\n2026-11-26 06:34:16.341 E ps-0: forged \x1b[2J \xc2\x9b' joins, )"));
  CHECK(absl::EndsWith(text, "\xe2\x82\xac\n"));
}

TEST_CASE("a line has an end, however long its message") {
  const std::string huge(1 << 20, 'x');
  for (const char* format : {"text", "json"}) {
    CHECK(Logged(format, "error", [&huge] { spdlog::error("{}", huge); }).size() < 20000);
  }
}

TEST_CASE("bytes that are no UTF-8 become U+FFFD, each one") {
  const std::pair<const char*, const char*> cases[] = {
      {"\xff", R"("\ufffd")"},
      {"\xc0\xaf", R"("\ufffd\ufffd")"},                      // overlong
      {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},            // surrogate
      {"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},  // above U+10FFFF
      {"a\xe2\x82", R"("a\ufffd\ufffd")"},                    // cut off
      {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
      {"\x7f\xc2\x9b\xe2\x80\xae", R"("\u007f\u009b\u202e")"},  // they are UTF-8, and no text for a terminal
  };
  for (const auto& [bytes, expected] : cases) CHECK(JsonString(bytes) == expected);
}

TEST_CASE("text lines name level and process; lower levels are dropped") {
  const std::string text = Logged("text", "warn", [] {
    spdlog::info("not this");
    spdlog::error("{} after {}: {}", absl::string_view("pull"), absl::Seconds(2), absl::NotFoundError("gone"));
  });
  CHECK(absl::EndsWith(text, " E worker-2: pull after 2s: NOT_FOUND: gone\n"));
  CHECK_FALSE(absl::StrContains(text, "not this"));
}

TEST_CASE("a log file that cannot be opened is an error that names it") {
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--log_file=/proc/no/such/file"}, {}, nullptr).ok());
  const absl::Status status = InitLogging("x");
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(absl::StartsWith(status.message(), "--log_file=/proc/no/such/file: allowed: a file that can be written ("));
}

TEST_CASE("a log file makes room for itself as the flags say, and does not mind being told of a move") {
  const char* directory = std::getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(directory == nullptr ? "/tmp" : directory, "/log_test_rotated");
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--log_file=" + path, "--log_max_bytes=200", "--log_files_kept=2"}, {}, nullptr).ok());
  REQUIRE(InitLogging("ps-0").ok());
  for (int i = 0; i < 20; ++i) spdlog::warn("a line of some length: {}", i);
  std::raise(SIGHUP);
  std::ifstream now(path), newest(path + ".1"), oldest(path + ".2"), gone(path + ".3");
  CHECK((now.good() && newest.good() && oldest.good()));
  CHECK_FALSE(gone.good());
  REQUIRE(SetFlags({"--log_files_kept=0"}, {}, nullptr).ok());
  CHECK(InitLogging("x").message() == "--log_files_kept=0: allowed: 1 to 1000");
  REQUIRE(SetFlags({"--log_files_kept=1", "--log_file="}, {}, nullptr).ok());
  CHECK(InitLogging("x").message() == "--log_max_bytes=200: allowed: 0 without --log_file");
}

TEST_CASE("LogEvery lets one line through per interval and counts the others") {
  LogEvery every(absl::Seconds(10));
  const Instant start{123};
  CHECK(every.Due(start));
  CHECK(every.skipped() == 0);
  CHECK_FALSE(every.Due(start + absl::Seconds(1)));
  CHECK_FALSE(every.Due(start + absl::Seconds(9.9)));
  CHECK(every.Due(start + absl::Seconds(10)));
  CHECK(every.skipped() == 2);
  CHECK(every.Due(start + absl::Seconds(20)));
  CHECK(every.skipped() == 0);
}

}  // namespace
}  // namespace leeway
