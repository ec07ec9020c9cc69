#include "common/flags.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "absl/container/flat_hash_map.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/end_process.h"
#include "common/print_error.h"
#include "common/status_macros.h"
#include "common/version.h"

namespace leeway {
namespace {

constexpr char kPrefix[] = "LEEWAY_";
constexpr int kMaxFlagFileDepth = 8;
constexpr std::size_t kMaxFlagFileBytes = 1 << 20;

// Variables that are not flags: they steer the build and the tests.
bool IsReserved(absl::string_view variable) {
  return variable == "LEEWAY_CUDA" || absl::StartsWith(variable, "LEEWAY_TEST_");
}

std::set<std::string>& GivenFlags() {
  static auto* given = new std::set<std::string>();
  return *given;
}

bool IsOwn(const absl::CommandLineFlag& flag) { return !absl::StrContains(flag.Filename(), "absl/"); }

std::vector<std::string> FlagNames() {
  std::vector<std::string> names = {"flagfile", "help", "version"};
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (IsOwn(*flag)) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What Abseil's own parsers do not say about the values they refuse.
std::string AllowedValues(const absl::CommandLineFlag& flag) {
  if (flag.IsOfType<bool>()) return "true, false";
  if (flag.IsOfType<std::int32_t>()) return "a whole number between -2147483648 and 2147483647";
  if (flag.IsOfType<std::uint32_t>()) return "a whole number between 0 and 4294967295";
  if (flag.IsOfType<std::int64_t>()) return "a whole number";
  if (flag.IsOfType<std::uint64_t>()) return "a whole number, 0 or above";
  if (flag.IsOfType<float>() || flag.IsOfType<double>()) return "a number";
  if (flag.IsOfType<absl::Duration>()) return "a duration with its unit, such as 500ms, 1.5s, 2m";
  return flag.Help();
}

// `source`: the flag as it was written, for the message: "--flag" or "LEEWAY_FLAG".
absl::Status Parse(absl::CommandLineFlag* flag, const std::string& source, const std::string& value) {
  std::string error;
  if (flag->ParseFrom(value, &error)) return absl::OkStatus();
  // Abseil's words come first, and end there when the value's type has no words of its own.
  absl::string_view allowed = error;
  absl::ConsumePrefix(&allowed, absl::StrCat("Illegal value '", value, "' specified for flag '", flag->Name(), "'"));
  absl::ConsumePrefix(&allowed, "; ");
  return absl::InvalidArgumentError(
      absl::StrCat(source, "=", value, ": allowed: ", allowed.empty() ? AllowedValues(*flag) : std::string(allowed)));
}

absl::Status Set(absl::CommandLineFlag* flag, const std::string& source, const std::string& value) {
  RETURN_IF_ERROR(Parse(flag, source, value));
  GivenFlags().insert(std::string(flag->Name()));
  return absl::OkStatus();
}

absl::CommandLineFlag* Find(const std::string& name) {
  absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  return flag != nullptr && IsOwn(*flag) ? flag : nullptr;
}

absl::Status UnknownFlag(const std::string& written, const std::string& name) {
  const std::string guess = DidYouMean(name, FlagNames());
  return absl::NotFoundError(absl::StrCat("unknown flag ", written,
                                          guess.empty() ? "" : absl::StrCat(", did you mean --", guess, "?"),
                                          " (--help lists all)"));
}

absl::Status SetFromFile(const std::string& path, int depth, std::vector<std::string>* positional);

absl::Status SetFromArguments(const std::vector<std::string>& arguments, int depth,
                              std::vector<std::string>* positional) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      positional->insert(positional->end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      return absl::OkStatus();
    }
    if (argument.size() < 2 || argument[0] != '-') {
      positional->push_back(argument);
      continue;
    }
    const std::string word = argument.substr(argument[1] == '-' ? 2 : 1);
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    std::optional<std::string> value;
    if (equals != std::string::npos) value = word.substr(equals + 1);

    absl::CommandLineFlag* flag = Find(name);
    if (flag == nullptr && !value && absl::StartsWith(name, "no")) {
      absl::CommandLineFlag* positive = Find(name.substr(2));
      if (positive != nullptr && positive->IsOfType<bool>()) {
        RETURN_IF_ERROR(Set(positive, absl::StrCat("--", positive->Name()), "false"));
        continue;
      }
    }
    if (flag == nullptr && name != "flagfile") return UnknownFlag(absl::StrCat("--", name), name);
    if (!value && flag != nullptr && flag->IsOfType<bool>()) value = "true";
    if (!value) {
      if (i + 1 == arguments.size()) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, ": its value is missing"));
      }
      value = arguments[++i];
    }
    if (flag != nullptr) {
      RETURN_IF_ERROR(Set(flag, absl::StrCat("--", name), *value));
    } else {
      RETURN_IF_ERROR(SetFromFile(*value, depth + 1, positional));
    }
  }
  return absl::OkStatus();
}

// A device or a pipe may have no end, or never begin; and flags take a few lines.
std::optional<std::string> ReadFlagFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFlagFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.eof() || file.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

absl::Status SetFromFile(const std::string& path, int depth, std::vector<std::string>* positional) {
  if (depth > kMaxFlagFileDepth) {
    return FlagError("flagfile", path, absl::StrCat("flag files nested at most ", kMaxFlagFileDepth, " deep"));
  }
  const std::optional<std::string> text = ReadFlagFile(path);
  if (!text) return FlagError("flagfile", path, "a regular file of at most 1 MiB that can be read");
  std::vector<std::string> arguments;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty() && line[0] != '#') arguments.emplace_back(line);
  }
  const std::size_t before = positional->size();
  RETURN_IF_ERROR(SetFromArguments(arguments, depth, positional));
  if (positional->size() != before) {
    return FlagError("flagfile", path, absl::StrCat("a flag in every line, not \"", (*positional)[before], "\""));
  }
  return absl::OkStatus();
}

absl::Status SetFromEnvironment(const std::vector<std::string>& environment, std::vector<std::string>* unknown) {
  // Sorted, so that the same mistakes are reported in the same way on every machine.
  std::map<std::string, std::string> variables;
  for (const std::string& word : environment) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || !absl::StartsWith(word, kPrefix)) continue;
    if (!IsReserved(word.substr(0, equals))) variables[word.substr(0, equals)] = word.substr(equals + 1);
  }
  // A flag file in the environment comes first: single variables are more particular.
  const auto file = variables.find("LEEWAY_FLAGFILE");
  if (file != variables.end()) {
    std::vector<std::string> positional;
    RETURN_IF_ERROR(SetFromFile(file->second, 1, &positional));
    variables.erase(file);
  }
  for (const auto& [variable, value] : variables) {
    absl::CommandLineFlag* flag = Find(absl::AsciiStrToLower(variable.substr(sizeof(kPrefix) - 1)));
    if (flag != nullptr) {
      RETURN_IF_ERROR(Set(flag, variable, value));
    } else if (unknown != nullptr) {
      unknown->push_back(variable);
    }
  }
  return absl::OkStatus();
}

std::size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

}  // namespace

absl::Status FlagError(absl::string_view flag, absl::string_view value, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": allowed: ", allowed));
}

void ExitWithError(const absl::Status& status, int exit_code) {
  PrintError(status.message());
  EndProcess(exit_code);
}

absl::Status CheckFlagValue(const std::string& flag, const std::string& value) {
  absl::CommandLineFlag* found = Find(flag);
  if (found == nullptr) return UnknownFlag(absl::StrCat("--", flag), flag);
  // Not absl::FlagSaver, which says on stderr what it restores.
  const std::string was = found->CurrentValue();
  absl::Status status = Parse(found, absl::StrCat("--", flag), value);
  std::string error;
  found->ParseFrom(was, &error);
  return status;
}

absl::Status CheckArguments(const std::vector<std::string>& arguments, const FlagFilter& taken,
                            const std::string& program) {
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument.size() < 2 || argument[0] != '-') continue;
    const std::string word = argument.substr(argument[1] == '-' ? 2 : 1);
    const std::string name = word.substr(0, word.find('='));
    const absl::CommandLineFlag* flag = Find(name);
    if (flag == nullptr && absl::StartsWith(name, "no")) flag = Find(name.substr(2));
    if (flag == nullptr || taken(std::string(flag->Name()), flag->Filename())) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(program, " does not take --", flag->Name(), " (", program, " --help lists what it takes)"));
  }
  return absl::OkStatus();
}

bool FlagGiven(absl::string_view flag) { return GivenFlags().count(std::string(flag)) > 0; }

absl::Status CheckUnread(const std::string& flag, absl::string_view reader) {
  const absl::CommandLineFlag* found = Find(flag);
  if (found->CurrentValue() == found->DefaultValue()) return absl::OkStatus();
  return FlagError(flag, found->CurrentValue(), absl::StrCat("only with ", reader));
}

void ForgetFlags() {
  std::string error;
  for (const std::string& name : GivenFlags()) {
    absl::CommandLineFlag* flag = Find(name);
    flag->ParseFrom(flag->DefaultValue(), &error);
  }
  GivenFlags().clear();
}

absl::Status SetFlagUnlessGiven(const std::string& flag, const std::string& value) {
  if (FlagGiven(flag)) return absl::OkStatus();
  return SetFlags({absl::StrCat("--", flag, "=", value)}, {}, nullptr).status();
}

absl::StatusOr<std::vector<std::string>> SetFlags(const std::vector<std::string>& arguments,
                                                  const std::vector<std::string>& environment,
                                                  std::vector<std::string>* unknown) {
  std::vector<std::string> positional;
  RETURN_IF_ERROR(SetFromEnvironment(environment, unknown));
  RETURN_IF_ERROR(SetFromArguments(arguments, 0, &positional));
  return positional;
}

std::vector<std::string> ParseFlags(int argc, char** argv, const std::string& usage, const FlagFilter& shown,
                                    const std::string& hint) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument == "--help" || argument == "-help" || argument == "-h") {
      std::fputs(FlagHelp(usage, shown).c_str(), stdout);
      EndProcess(0);
    }
    if (argument == "--version" || argument == "-version") {
      std::printf("%s\n", VersionLine(program_invocation_short_name).c_str());
      EndProcess(0);
    }
  }
  std::vector<std::string> environment;
  for (char** word = environ; *word != nullptr; ++word) environment.emplace_back(*word);
  std::vector<std::string> unknown;
  absl::StatusOr<std::vector<std::string>> positional = SetFlags(arguments, environment, &unknown);
  if (absl::IsNotFound(positional.status())) {
    ExitWithError(absl::NotFoundError(absl::StrCat(positional.status().message(), hint)));
  }
  if (!positional.ok()) ExitWithError(positional.status());
  if (!unknown.empty()) {
    std::fprintf(stderr, "%s: warning: no flag is named by the environment's %s\n", program_invocation_short_name,
                 absl::StrJoin(unknown, ", ").c_str());
  }
  return *std::move(positional);
}

std::string FlagHelp(const std::string& usage, const FlagFilter& shown) {
  std::map<std::string, std::map<std::string, const absl::CommandLineFlag*>> by_file;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (!IsOwn(*flag) || flag->IsRetired()) continue;
    if (shown != nullptr && !shown(std::string(name), flag->Filename())) continue;
    by_file[flag->Filename()][std::string(name)] = flag;
  }
  std::string text = absl::StrCat(usage, absl::EndsWith(usage, "\n") ? "" : "\n");
  for (const auto& [file, flags] : by_file) {
    absl::StrAppend(&text, "\nFlags from ", file, ":\n");
    for (const auto& [name, flag] : flags) {
      absl::StrAppend(&text, "  --", name, "=", flag->DefaultValue(), "\n      ",
                      absl::StrReplaceAll(flag->Help(), {{"\n", "\n      "}}), "\n");
    }
  }
  absl::StrAppend(&text,
                  "\nFlags of every program:\n"
                  "  --flagfile=FILE\n      reads flags from FILE, one per line; lines that begin with # are comments\n"
                  "  --help, --version\n"
                  "LEEWAY_<FLAG> in the environment sets any flag; the command line wins.\n");
  return text;
}

std::string DidYouMean(absl::string_view wrong, const std::vector<std::string>& names) {
  std::size_t nearest = std::max<std::size_t>(1, wrong.size() / 3) + 1;  // further away it would be a wild guess
  std::string guess;
  for (const std::string& name : names) {
    const std::size_t distance = EditDistance(wrong, name);
    if (distance < nearest) {
      nearest = distance;
      guess = name;
    }
  }
  return guess;
}

bool AbslParseFlag(absl::string_view text, NameValues* values, std::string* error) {
  *error = "a list like name:1.5,other:2, each name once";
  values->items.clear();
  std::set<std::string> seen;
  for (absl::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::size_t colon = item.rfind(':');
    if (colon == absl::string_view::npos) return false;
    const std::string name(absl::StripAsciiWhitespace(item.substr(0, colon)));
    double value = 0;
    if (name.empty() || !absl::SimpleAtod(item.substr(colon + 1), &value) || !std::isfinite(value)) return false;
    if (!seen.insert(name).second) return false;
    values->items.emplace_back(name, value);
  }
  return true;
}

std::string AbslUnparseFlag(const NameValues& values) {
  return absl::StrJoin(values.items, ",", [](std::string* out, const std::pair<std::string, double>& item) {
    char number[32];  // the shortest that is read as the same number again
    const std::to_chars_result end = std::to_chars(number, number + sizeof(number), item.second);
    absl::StrAppend(out, item.first, ":", absl::string_view(number, static_cast<std::size_t>(end.ptr - number)));
  });
}

}  // namespace leeway
