// RandomId: what tells one run, or one process, from another.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <random>

namespace leeway {

// From the system's source of randomness; never 0, which stands for none.
inline std::uint64_t RandomId() {
  std::random_device device;
  std::uint64_t id = 0;
  while (id == 0) id = (std::uint64_t{device()} << 32) | device();
  return id;
}

}  // namespace leeway
