// RandomId: a number that nobody else has drawn, and that is not 0.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <random>

namespace leeway {

inline std::uint64_t RandomId() {
  std::random_device device;
  std::uint64_t id = 0;
  while (id == 0) id = (std::uint64_t{device()} << 32) | device();
  return id;
}

}  // namespace leeway
