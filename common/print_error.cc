#include "common/print_error.h"

#include <errno.h>

#include <cstdio>

#include "common/utf8.h"

namespace leeway {
namespace {

void (*print_error)(const std::string& message) = nullptr;  // null: on stderr

}  // namespace

void PrintError(absl::string_view message) {
  const std::string line = EscapeUnprintable(message);
  if (print_error != nullptr) return print_error(line);
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, line.c_str());
}

void PrintErrorsBy(void (*print)(const std::string& message)) { print_error = print; }

}  // namespace leeway
