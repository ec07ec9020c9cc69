// Era: the part of a run between two of its goings back to a checkpoint (docs/adr/0015-going-back-together.md).
//
// Thread safety: a value.
#pragma once

#include <cstdint>
#include <string>

namespace leeway {

struct Era {
  std::uint64_t number = 0;  // how often the run has gone back
  std::string base;          // the name of the checkpoint's directory that it began with; "" in era 0
  friend bool operator==(const Era&, const Era&) = default;
};

}  // namespace leeway
