#include "common/flags.h"

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/machine.h"
#include "common/version.h"
#include "tests/catch.h"

namespace leeway {

enum class Color { kRed, kGreen };
constexpr FlagChoice<Color> kColors[] = {{"red", Color::kRed}, {"green", Color::kGreen}};
bool AbslParseFlag(absl::string_view text, Color* color, std::string* error) {
  return ParseChoice(text, kColors, color, error);
}
std::string AbslUnparseFlag(Color color) { return ChoiceName(color, kColors); }

}  // namespace leeway

ABSL_FLAG(std::int64_t, test_bound, 7, "a whole number");
ABSL_FLAG(bool, test_switch, true, "a switch");
ABSL_FLAG(leeway::Color, test_color, leeway::Color::kRed, "a color");
ABSL_FLAG(leeway::NameValues, test_list, {}, "names with numbers");
ABSL_FLAG(std::string, test_text, "", "a text");
ABSL_FLAG(absl::Duration, test_wait, absl::Seconds(1), "a duration");

namespace leeway {
namespace {

using Words = std::vector<std::string>;

std::string ErrorOf(const Words& arguments, const Words& environment = {}) {
  absl::FlagSaver saver;
  return std::string(SetFlags(arguments, environment, nullptr).status().message());
}

std::string WriteTemporary(const std::string& name, const std::string& text) {
  const char* directory = std::getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(directory == nullptr ? "/tmp" : directory, "/", name);
  std::ofstream(path) << text;
  return path;
}

TEST_CASE("flags are set in every spelling, the rest is positional") {
  absl::FlagSaver saver;
  const auto positional = SetFlags(
      {"run", "--test_bound=-1", "-test_color", "green", "--notest_switch", "-", "--", "--test_bound=5"}, {}, nullptr);
  REQUIRE(positional.ok());
  CHECK(*positional == Words{"run", "-", "--test_bound=5"});
  CHECK(absl::GetFlag(FLAGS_test_bound) == -1);
  CHECK(absl::GetFlag(FLAGS_test_color) == Color::kGreen);
  CHECK_FALSE(absl::GetFlag(FLAGS_test_switch));
  CHECK(FlagGiven("test_bound"));
  CHECK_FALSE(FlagGiven("test_wait"));
}

TEST_CASE("the command line wins over the flag file, and that over the environment") {
  const std::string file = WriteTemporary("flags_test_file", "# comment\n\n  --test_bound=20\r\n--test_color=green\n");
  const Words environment = {"LEEWAY_TEST_SEED=1", "LEEWAY_CUDA=0", "HOME=/", "TEST_BOUND=9"};
  absl::FlagSaver saver;
  Words unknown;
  REQUIRE(SetFlags({"--flagfile=" + file, "--test_bound=30"}, environment, &unknown).ok());
  CHECK(absl::GetFlag(FLAGS_test_bound) == 30);
  CHECK(absl::GetFlag(FLAGS_test_color) == Color::kGreen);
  CHECK(unknown.empty());
  REQUIRE(SetFlags({"--test_bound=30", "--flagfile", file}, environment, &unknown).ok());
  CHECK(absl::GetFlag(FLAGS_test_bound) == 20);
}

TEST_CASE("a wrong flag is one line that names it, its value and what is allowed") {
  CHECK(ErrorOf({"--test_bonud=3"}) == "unknown flag --test_bonud, did you mean --test_bound? (--help lists all)");
  CHECK(ErrorOf({"--zzzzzzzzzzzz"}) == "unknown flag --zzzzzzzzzzzz (--help lists all)");
  CHECK(ErrorOf({"--test_color=rde"}) == "--test_color=rde: allowed: red, green");
  CHECK(ErrorOf({"--test_bound=3.5"}) == "--test_bound=3.5: allowed: a whole number");
  CHECK(ErrorOf({"--test_bound=99999999999999999999"}) == "--test_bound=99999999999999999999: allowed: a whole number");
  CHECK(ErrorOf({"--test_switch=maybe"}) == "--test_switch=maybe: allowed: true, false");
  CHECK(absl::StartsWith(ErrorOf({"--test_wait=5"}), "--test_wait=5: allowed: a duration"));
  CHECK(ErrorOf({"--test_bound"}) == "--test_bound: its value is missing");
  CHECK(absl::StartsWith(ErrorOf({"--notest_bound"}), "unknown flag --notest_bound"));
  CHECK(absl::StartsWith(ErrorOf({"--=3"}), "unknown flag --"));
  // Paths travel in messages, whose text is UTF-8.
  CHECK(ErrorOf({"--test_text=/caf\xe9"}) == "--test_text=/caf\\xe9: allowed: UTF-8");
  CHECK(ErrorOf({"--test_text=/caf\xc3\xa9"}).empty());
}

TEST_CASE("a value can be checked without setting it") {
  CHECK(CheckFlagValue("test_wait", "3s").ok());
  CHECK(absl::GetFlag(FLAGS_test_wait) == absl::Seconds(1));
  CHECK_FALSE(FlagGiven("test_wait"));
  CHECK(CheckFlagValue("test_color", "blue").message() == "--test_color=blue: allowed: red, green");
  CHECK(CheckFlagValue("no_such_thing", "1").code() == absl::StatusCode::kNotFound);
}

TEST_CASE("flag files that cannot be used are refused") {
  const std::string large = WriteTemporary("flags_test_large", std::string((1 << 20) + 1, '#'));
  for (const std::string& path : {std::string("/no/such/file"), std::string("/"), std::string("/dev/zero"), large}) {
    CHECK(ErrorOf({"--flagfile=" + path}) ==
          "--flagfile=" + path + ": allowed: a regular file of at most 1 MiB that can be read");
  }
  const std::string largest = WriteTemporary("flags_test_largest", std::string(1 << 20, '#'));
  CHECK(SetFlags({"--flagfile=" + largest}, {}, nullptr).ok());
  const std::string words = WriteTemporary("flags_test_words", "test_bound=3\n");
  CHECK(absl::StrContains(ErrorOf({"--flagfile=" + words}), "a flag in every line, not \"test_bound=3\""));
  const std::string loop = WriteTemporary("flags_test_loop", "");
  std::ofstream(loop) << "--flagfile=" << loop << "\n";
  CHECK(absl::StrContains(ErrorOf({"--flagfile=" + loop}), "nested at most"));
}

TEST_CASE("name:value lists") {
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--test_list=bias:0.5, conv:2"}, {}, nullptr).ok());
  const NameValues list = absl::GetFlag(FLAGS_test_list);
  REQUIRE(list.items.size() == 2);
  CHECK(list.items[0] == std::make_pair(std::string("bias"), 0.5));
  CHECK(list.items[1] == std::make_pair(std::string("conv"), 2.0));
  CHECK(AbslUnparseFlag(list) == "bias:0.5,conv:2");
  // leeway run hands them on as text.
  NameValues again;
  std::string error;
  const NameValues exact{{{"a", 0.123456789012}, {"b", 1e-300}, {"c", -16777217}, {"d", 0.1}}};
  REQUIRE(AbslParseFlag(AbslUnparseFlag(exact), &again, &error));
  CHECK(again.items == exact.items);
  for (const char* wrong : {"bias", "bias:", ":1", "bias:x", "bias:nan", "bias:inf", "bias:1,bias:2"}) {
    CHECK(ErrorOf({std::string("--test_list=") + wrong}) ==
          std::string("--test_list=") + wrong + ": allowed: a list like name:1.5,other:2, each name once");
  }
}

TEST_CASE("every flag has a line in the help, and only own ones") {
  const std::string help = FlagHelp("usage: test");
  CHECK(absl::StartsWith(help, "usage: test\n"));
  CHECK(absl::StrContains(help, "Flags from tests/common/flags_test.cc:\n"));
  CHECK(absl::StrContains(help, "  --test_bound=7\n      a whole number\n"));
  CHECK_FALSE(absl::StrContains(help, "absl/"));
}

TEST_CASE(
    "one verb's help lists its own flags, and a flag of another verb is refused instead of being without effect") {
  const FlagFilter bound = [](const std::string& name, const std::string&) { return name == "test_bound"; };
  const std::string help = FlagHelp("usage: test", bound);
  CHECK(absl::StrContains(help, "  --test_bound=7\n"));
  CHECK(absl::StrContains(help, "--flagfile"));
  CHECK(CheckArguments({"--test_bound=3", "word", "-1", "--flagfile=x"}, bound, "leeway set").ok());
  for (const std::string name : {"test_switch", "test_color", "test_list", "test_wait"}) {
    INFO(name);
    CHECK_FALSE(absl::StrContains(help, absl::StrCat("--", name, "=")));
    for (const std::string& written : {absl::StrCat("--", name, "=1"), absl::StrCat("-", name)}) {
      const absl::Status status = CheckArguments({"word", written}, bound, "leeway set");
      CHECK(absl::StartsWith(status.message(), absl::StrCat("leeway set does not take --", name, " (")));
    }
    CHECK(CheckArguments({"--", absl::StrCat("--", name)}, bound, "leeway set").ok());
  }
  CHECK_FALSE(CheckArguments({"--notest_switch"}, bound, "leeway set").ok());
  // Only what a program parses has a meaning: what it does not know at all, it has refused before.
  CHECK(CheckArguments({"--no_such_flag"}, bound, "leeway set").ok());
}

TEST_CASE("the version line and sizes for people") {
  CHECK(absl::StartsWith(VersionLine("ps"), "ps 0.1.0 (protocol 1, "));
  CHECK(FormatBytes(0) == "0 B");
  CHECK(FormatBytes(999) == "999 B");
  CHECK(FormatBytes(1000) == "0.977 KiB");
  CHECK(FormatBytes(1536) == "1.5 KiB");
  CHECK(FormatBytes(431u << 20) == "431 MiB");
  CHECK(FormatBytes(~std::uint64_t{0}) == "16 EiB");
  CHECK(TotalMemoryBytes() > (64u << 20));
  CHECK(AvailableCores() >= 1);
  CHECK_FALSE(CpuName().empty());
}

}  // namespace
}  // namespace leeway
