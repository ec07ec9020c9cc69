// Fuzz target: DecodeBlock, DecodeAddBlock and CheckBlock on a payload that is split anywhere, against a decoder that
// reads one flat string value by value.
//
// Input: a byte for the encoding, two for the number of values, one for the byte at which the block begins, one for how
// often the payload is repeated (pieces of 4096 values need long payloads), the cuts (FuzzInput::Pieces), the payload.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "tests/fuzz/fuzz_input.h"

namespace leeway {
namespace {

template <typename T>
T Load(const std::string& bytes, std::size_t at) {
  T value;
  FUZZ_CHECK(at + sizeof(value) <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

float Bf16(const std::string& bytes, std::size_t at) {
  const std::uint32_t bits = std::uint32_t{Load<std::uint16_t>(bytes, at)} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

struct Block {
  std::vector<std::optional<float>> values;  // nothing: TOP_K does not name it
  std::size_t end = 0;
};

// What the format says; nothing: it is no block of `count` values.
std::optional<Block> Expected(v1::Encoding encoding, const std::string& bytes, std::size_t at, std::size_t count) {
  Block block{std::vector<std::optional<float>>(count), 0};
  const std::size_t left = bytes.size() < at ? 0 : bytes.size() - at;
  if (encoding == v1::F32) {
    if (at > bytes.size() || left < 4 * count) return std::nullopt;
    for (std::size_t i = 0; i < count; ++i) block.values[i] = Load<float>(bytes, at + 4 * i);
    block.end = at + 4 * count;
  } else if (encoding == v1::BF16) {
    if (at > bytes.size() || left < 2 * count) return std::nullopt;
    for (std::size_t i = 0; i < count; ++i) block.values[i] = Bf16(bytes, at + 2 * i);
    block.end = at + 2 * count;
  } else if (encoding == v1::INT8) {
    if (left < 4 + count) return std::nullopt;
    const auto scale = Load<float>(bytes, at);
    for (std::size_t i = 0; i < count; ++i) {
      block.values[i] = scale * static_cast<float>(Load<std::int8_t>(bytes, at + 4 + i));
    }
    block.end = at + 4 + count;
  } else if (encoding == v1::TOP_K) {
    if (left < 4) return std::nullopt;
    const std::uint64_t kept = Load<std::uint32_t>(bytes, at);
    if (kept > count || left < 4 + 8 * kept) return std::nullopt;
    std::uint64_t least = 0;
    for (std::uint64_t i = 0; i < kept; ++i) {
      const auto index = Load<std::uint32_t>(bytes, at + 4 + 4 * i);
      if (index < least || index >= count) return std::nullopt;
      least = std::uint64_t{index} + 1;
      block.values[index] = Load<float>(bytes, at + 4 + 4 * kept + 4 * i);
    }
    block.end = at + 4 + 8 * kept;
  } else {
    return std::nullopt;
  }
  return block;
}

// The same bits, or both not a number: which one it is differs from one way of computing to another.
bool Same(float a, float b) { return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof(a)) == 0; }

void Check(v1::Encoding encoding, const Buffer& payload, std::size_t at, std::size_t count) {
  const std::optional<Block> expected = Expected(encoding, payload.ToString(), at, count);
  constexpr float kBefore = 3;
  std::vector<float> set(count, kBefore), sum(count, kBefore);
  const absl::StatusOr<std::size_t> checked = CheckBlock(encoding, payload, at, count);
  const absl::StatusOr<std::size_t> decoded = DecodeBlock(encoding, payload, at, count, set.data());
  const absl::StatusOr<std::size_t> added = DecodeAddBlock(encoding, payload, at, count, sum.data());
  FUZZ_CHECK(checked.ok() == expected.has_value());
  FUZZ_CHECK(decoded.status() == checked.status());
  FUZZ_CHECK(added.status() == checked.status());
  if (!expected) {
    FUZZ_CHECK(absl::IsInvalidArgument(checked.status()));
    return;
  }
  FUZZ_CHECK(*checked == expected->end && *decoded == expected->end && *added == expected->end);
  for (std::size_t i = 0; i < count; ++i) {
    const std::optional<float>& value = expected->values[i];
    FUZZ_CHECK(Same(set[i], value.value_or(0.0f)));
    FUZZ_CHECK(Same(sum[i], value ? kBefore + *value : kBefore));
  }
}

}  // namespace
}  // namespace leeway

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  leeway::FuzzInput input(data, size);
  const auto encoding = static_cast<leeway::v1::Encoding>(input.Byte() % 6);  // 4 and 5 are none
  const std::size_t low = input.Byte();
  const std::size_t count = 1 + (low | std::size_t{input.Byte()} << 8) % 5000;
  const std::size_t at = input.Byte() % 16;
  const int times = 1 + input.Byte() % 8;
  const leeway::Buffer once = input.Pieces();
  leeway::Buffer payload;
  for (int i = 0; i < times; ++i) payload.Append(once);
  leeway::Check(encoding, payload, at, count);
  return 0;
}
