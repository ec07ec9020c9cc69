#include "common/buffer_reader.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

// `bytes` in slices cut at random, each at an address of its own.
Buffer Cut(const std::string& bytes, Random& random) {
  Buffer buffer;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t n = std::min<std::size_t>(bytes.size() - at, 1 + random.Below(40));
    const std::size_t shift = random.Below(4);
    const auto owner = std::make_shared<const std::string>(std::string(shift, '?') + bytes.substr(at, n));
    buffer.Append({owner->data() + shift, n, owner});
    at += n;
  }
  return buffer;
}

TEST_CASE("BufferReader: any takes give the bytes in their order, whatever the slices") {
  Random random(TestSeed());
  for (int round = 0; round < 500; ++round) {
    std::string bytes(random.Below(600), '\0');
    std::iota(bytes.begin(), bytes.end(), static_cast<char>(random.Below(256)));
    const Buffer buffer = Cut(bytes, random);
    const std::size_t begin = random.Below(bytes.size() + 1);
    BufferReader reader(buffer, begin);
    std::string taken;
    while (reader.at() < bytes.size()) {
      REQUIRE(reader.at() == begin + taken.size());
      float scratch[32];
      const std::size_t n = random.Below(std::min<std::size_t>(bytes.size() - reader.at(), sizeof scratch) + 1);
      if (random.Chance(0.2)) {
        reader.AppendTo(&taken, n);
      } else if (random.Chance(0.2)) {
        taken += bytes.substr(reader.at(), n);
        reader.Skip(n);
      } else if (n % sizeof(float) == 0) {
        const float* floats = reader.TakeFloats(n / sizeof(float), scratch);
        REQUIRE(reinterpret_cast<std::uintptr_t>(floats) % alignof(float) == 0);
        taken.append(reinterpret_cast<const char*>(floats), n);
      } else {
        taken.append(reader.Take(n, scratch), n);
      }
    }
    REQUIRE(taken == bytes.substr(begin));
  }
}

TEST_CASE("BufferReader: what lies in one slice is not copied") {
  const std::vector<float> floats(8, 1.5f);
  const Buffer buffer = Buffer::Wrap(nullptr, floats.data(), floats.size() * sizeof(float));
  BufferReader reader(buffer);
  float scratch[8];
  CHECK(reader.TakeFloats(3, scratch) == floats.data());
  CHECK(reader.TakeFloats(5, scratch) == floats.data() + 3);
}

}  // namespace
}  // namespace leeway
