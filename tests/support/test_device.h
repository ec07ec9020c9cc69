// The device that tests of arithmetic run on: the CPU, or what LEEWAY_TEST_DEVICE names (cuda:0).
//
// Thread safety: pure.
#pragma once

#include <cstdlib>
#include <string>

namespace leeway {

inline std::string TestDevice() {
  const char* const device = std::getenv("LEEWAY_TEST_DEVICE");
  return device == nullptr ? "cpu" : device;
}

}  // namespace leeway
