#include "tests/seed.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace leeway {
namespace {

uint64_t Draw() {
  std::random_device random;
  uint64_t seed = uint64_t{random()} << 32 | random();
  if (const char* text = std::getenv("LEEWAY_TEST_SEED")) {
    const char* end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, seed);
    if (error != std::errc() || stop != end) {
      std::fprintf(stderr, "LEEWAY_TEST_SEED=%s: not a decimal number below 2^64\n", text);
      std::exit(2);
    }
  }
  std::fprintf(stderr, "LEEWAY_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace

uint64_t TestSeed() {
  static const uint64_t seed = Draw();
  return seed;
}

}  // namespace leeway
