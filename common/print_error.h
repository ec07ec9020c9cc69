// How a program says in one line why it ends: "program: message" on stderr, or as its log says it.
//
// Thread safety: PrintErrorsBy before threads start; PrintError from any thread.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace leeway {

// As one line, whatever the message holds.
void PrintError(absl::string_view message);

// From now on by `print` (InitLogging has its log do it where stderr holds JSON lines).
void PrintErrorsBy(void (*print)(const std::string& message));

}  // namespace leeway
