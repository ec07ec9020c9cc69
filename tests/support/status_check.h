// Says: a status has this code, and its message names all of these words.
//
// Thread safety: pure.
#pragma once

#include <initializer_list>
#include <string>

#include "absl/status/status.h"

namespace leeway {

inline bool Says(const absl::Status& status, absl::StatusCode code, std::initializer_list<const char*> words) {
  if (status.code() != code) return false;
  const std::string message(status.message());
  for (const char* word : words) {
    if (message.find(word) == std::string::npos) return false;
  }
  return true;
}

}  // namespace leeway
