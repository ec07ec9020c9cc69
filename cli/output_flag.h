// --output, short -o: of several verbs, for some a format and for some a path.
//
// Thread safety: as Abseil flags.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace leeway {

// What -o or --output says; "" if neither was given.
std::string GivenOutput();

// For verbs that print: true for json, false for table (the default). INVALID_ARGUMENT: neither.
absl::StatusOr<bool> WantsJson();

}  // namespace leeway
