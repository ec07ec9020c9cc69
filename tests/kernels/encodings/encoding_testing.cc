#include "tests/kernels/encodings/encoding_testing.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <set>

#include "tests/support/random.h"

namespace leeway::testing {
namespace {

float MakeValue(Kind kind, Random& random) {
  using Limits = std::numeric_limits<float>;
  const float uniform = static_cast<float>(2 * random.Unit() - 1);
  switch (kind) {
    case Kind::kGradient:
      return uniform * uniform * uniform * 1e-2f;
    case Kind::kSpread:
      return uniform * static_cast<float>(std::pow(10.0, 18 * random.Unit() - 12));
    case Kind::kEqual:
      return static_cast<float>(static_cast<int>(random.Below(7)) - 3) * 0.375f;
    case Kind::kZero:
      return random.Below(2) == 0 ? 0.0f : -0.0f;
    case Kind::kHuge:
      return random.Below(8) == 0 ? std::copysign(Limits::max(), uniform) : uniform * Limits::max();
    case Kind::kTiny:
      return std::copysign(static_cast<float>(random.Below(3000)) * Limits::denorm_min(), uniform);
    case Kind::kBits:
      break;
  }
  const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random.Bits()));
  return std::isfinite(value) ? value : 0.0f;
}

}  // namespace

std::vector<float> MakeValues(Kind kind, std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(MakeValue(kind, random));
  return values;
}

Buffer Cut(const std::string& bytes, const std::vector<std::size_t>& cuts) {
  Buffer buffer;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const std::size_t size = (i < cuts.size() ? cuts[i] : bytes.size()) - begin;
    auto memory = std::shared_ptr<char[]>(new char[size + 1]);
    std::memcpy(memory.get() + 1, bytes.data() + begin, size);
    const char* data = memory.get() + 1;
    buffer.Append({data, size, std::move(memory)});
    begin += size;
  }
  return buffer;
}

Buffer CutAnywhere(const std::string& bytes, std::uint64_t seed) {
  Random random(seed);
  std::set<std::size_t> cuts;
  for (int i = 0; i < 6 && bytes.size() > 2; ++i) {
    const std::size_t at = 1 + random.Below(bytes.size() - 2);
    cuts.insert(at);
    if (random.Below(2) == 0) cuts.insert(at + 1);
  }
  return Cut(bytes, {cuts.begin(), cuts.end()});
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace leeway::testing
