// ParseFlags: Abseil flags from the command line, flag files and LEEWAY_<FLAG> environment variables, with one
// clear line for whatever is wrong. Helpers for flags whose values are names or `name:value` lists.
//
// Every flag that is linked in is understood in three places; what stands further down wins:
//   the environment    LEEWAY_STALENESS_BOUND=3
//   a flag file        --flagfile=FILE, where it stands among the arguments; a flag per line, # comments
//   the command line   --staleness_bound=3, --staleness_bound 3, --journal, --nojournal
// --help and --version print to stdout and end the process.
//
// absl::ParseCommandLine is not used: it has no environment prefix, and prints several lines for one mistake.
//
// Thread safety: ParseFlags, SetFlags, ForgetFlags and FlagGiven from one thread, before others start.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace leeway {

// Of a flag's name and the file that defines it.
using FlagFilter = std::function<bool(const std::string& name, const std::string& file)>;

// Sets the flags from the environment and `argv`, and returns the positional arguments (without the program's
// name; all that follows `--` is positional). `usage`: the first lines of --help. A mistake is printed as
// one line on stderr and ends the process with exit code 1; LEEWAY_ variables that name no flag cost one
// line of warning. `shown`: which flags --help lists; null: all. `hint`: what is added where a flag is unknown.
std::vector<std::string> ParseFlags(int argc, char** argv, const std::string& usage, const FlagFilter& shown = nullptr,
                                    const std::string& hint = "");

// Prints "program: message" on stderr and ends the process: how main() reports what is wrong with its flags taken
// together.
[[noreturn]] void ExitWithError(const absl::Status& status, int exit_code = 1);

// INVALID_ARGUMENT "--flag=value: allowed: ..."
absl::Status FlagError(absl::string_view flag, absl::string_view value, absl::string_view allowed);

// OK when `flag` ("staleness_bound") takes `value`; else as SetFlags. Sets nothing.
absl::Status CheckFlagValue(const std::string& flag, const std::string& value);

// True when the environment, a flag file or the command line gave this flag a value.
bool FlagGiven(absl::string_view flag);

// OK where `flag` has its default, which may have been given to take back what a flag file says; else FlagError:
// nothing would read it, as that is done only with `reader` ("--schedule=cosine").
absl::Status CheckUnread(const std::string& flag, absl::string_view reader);

// Every flag that was given has its default again and counts as not given: for tests, which give flags more than once.
void ForgetFlags();

// Gives `flag` a value that another source than those three knows, unless one of them gave it one. As SetFlags.
absl::Status SetFlagUnlessGiven(const std::string& flag, const std::string& value);

// What ParseFlags is made of, without its exits. `environment`: "NAME=value" words. Adds to `unknown` (may be
// null) the LEEWAY_ variables that name no flag. NOT_FOUND: an unknown flag; INVALID_ARGUMENT: an illegal value, a flag
// file that cannot be read; flags before the mistake are set. --help and --version are unknown here.
absl::StatusOr<std::vector<std::string>> SetFlags(const std::vector<std::string>& arguments,
                                                  const std::vector<std::string>& environment,
                                                  std::vector<std::string>* unknown);

// The text of --help: `usage`, then the flags of Leeway's own files, grouped by file, with their defaults.
std::string FlagHelp(const std::string& usage, const FlagFilter& shown = nullptr);

// OK when every flag among the words of a command line is one of those that `program` ("leeway set") takes: else it
// would have no effect, and nobody would say so. Flag files and the environment may hold flags of others.
absl::Status CheckArguments(const std::vector<std::string>& arguments, const FlagFilter& taken,
                            const std::string& program);

// The one of `names` that `wrong` was probably meant to be, or "".
std::string DidYouMean(absl::string_view wrong, const std::vector<std::string>& names);

// One value of an enumerated flag. A flag type lists its values once and builds AbslParseFlag and
// AbslUnparseFlag (in the type's namespace) on the two functions below:
//   constexpr FlagChoice<Aggregation> kAggregations[] = {{"each", EACH}, {"round", ROUND}};
template <typename T>
struct FlagChoice {
  const char* name;
  T value;
};

template <typename T, std::size_t N>
bool ParseChoice(absl::string_view text, const FlagChoice<T> (&choices)[N], T* value, std::string* error) {
  std::string names;
  for (const FlagChoice<T>& choice : choices) {
    if (text == choice.name) {
      *value = choice.value;
      return true;
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", choice.name);
  }
  *error = names;
  return false;
}

template <typename T, std::size_t N>
std::string ChoiceName(T value, const FlagChoice<T> (&choices)[N]) {
  for (const FlagChoice<T>& choice : choices) {
    if (value == choice.value) return choice.name;
  }
  return "?";  // no flag holds it: ParseChoice gives only listed values
}

// A flag like "bias:0.5,conv1:2": names with finite numbers, in the order given, no name twice.
struct NameValues {
  std::vector<std::pair<std::string, double>> items;
};
bool AbslParseFlag(absl::string_view text, NameValues* values, std::string* error);
std::string AbslUnparseFlag(const NameValues& values);

}  // namespace leeway
