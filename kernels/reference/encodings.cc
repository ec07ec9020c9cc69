#include "kernels/reference/encodings.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>

namespace leeway::reference {
namespace {

using Limits = std::numeric_limits<float>;

template <typename T>
void Append(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
T Read(const std::string& bytes, std::size_t at) {
  T value;
  std::memcpy(&value, &bytes.at(at), sizeof value);
  return value;
}

float FromBf16(std::uint32_t half) { return std::bit_cast<float>(half << 16); }

// Of the two bfloat16 around the value the nearer one, or the even one.
std::uint16_t ToBf16(float value) {
  const std::uint32_t sign = std::signbit(value) ? 0x8000u : 0u;
  if (std::isnan(value)) return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16 | 0x40u);
  if (std::isinf(value)) return static_cast<std::uint16_t>(sign | 0x7f80u);
  const double magnitude = std::fabs(value);
  const std::uint32_t below = std::bit_cast<std::uint32_t>(std::fabs(value)) >> 16;
  const std::uint32_t above = below + 1;
  if (std::isinf(FromBf16(above))) return static_cast<std::uint16_t>(sign | below);  // finite stays finite
  const double down = magnitude - FromBf16(below), up = FromBf16(above) - magnitude;
  const bool take_above = up < down || (up == down && above % 2 == 0);
  return static_cast<std::uint16_t>(sign | (take_above ? above : below));
}

float Int8Scale(const std::vector<float>& values) {
  double greatest = 0;
  for (float value : values) greatest = std::max(greatest, std::fabs(static_cast<double>(value)));
  if (greatest == 0) return 0;
  float scale = std::max(static_cast<float>(greatest / 127), Limits::min());
  while (std::isinf(scale * 127)) scale = std::nextafter(scale, 0.0f);
  return scale;
}

std::string EncodeTopK(const std::vector<float>& values, std::size_t kept) {
  std::vector<std::uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return std::fabs(values[a]) > std::fabs(values[b]); });
  order.resize(kept);
  std::sort(order.begin(), order.end());
  std::string out;
  Append(static_cast<std::uint32_t>(kept), &out);
  for (std::uint32_t index : order) Append(index, &out);
  for (std::uint32_t index : order) Append(values[index], &out);
  return out;
}

}  // namespace

std::string EncodeBlock(v1::Encoding encoding, const std::vector<float>& values, std::size_t kept) {
  std::string out;
  switch (encoding) {
    case v1::BF16:
      for (float value : values) Append(ToBf16(value), &out);
      return out;
    case v1::INT8: {
      const float scale = Int8Scale(values);
      Append(scale, &out);
      for (float value : values) {
        const auto quotient = static_cast<float>(static_cast<double>(value) / (scale == 0 ? 1 : scale));
        Append(static_cast<std::int8_t>(std::nearbyint(quotient)), &out);
      }
      return out;
    }
    case v1::TOP_K:
      return EncodeTopK(values, kept);
    default:
      for (float value : values) Append(value, &out);
      return out;
  }
}

std::vector<float> DecodeBlock(v1::Encoding encoding, const std::string& bytes, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    switch (encoding) {
      case v1::BF16:
        values[i] = FromBf16(Read<std::uint16_t>(bytes, 2 * i));
        break;
      case v1::INT8:
        values[i] = static_cast<float>(static_cast<double>(Read<float>(bytes, 0)) * Read<std::int8_t>(bytes, 4 + i));
        break;
      case v1::TOP_K:
        break;
      default:
        values[i] = Read<float>(bytes, 4 * i);
    }
  }
  const std::size_t kept = encoding == v1::TOP_K ? Read<std::uint32_t>(bytes, 0) : 0;
  for (std::size_t i = 0; i < kept; ++i) {
    values.at(Read<std::uint32_t>(bytes, 4 + 4 * i)) = Read<float>(bytes, 4 + 4 * kept + 4 * i);
  }
  return values;
}

}  // namespace leeway::reference
