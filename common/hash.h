// 64-bit mixing and hashing with fixed results: fingerprints, seeded choices. Not for hostile keys.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

namespace leeway {

// SplitMix64's finalizer (Steele, Lea, Flood 2014): a bijection that mixes every bit.
constexpr std::uint64_t Mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Order matters: Combine(Combine(s, a), b) differs from Combine(Combine(s, b), a).
constexpr std::uint64_t HashCombine(std::uint64_t seed, std::uint64_t value) { return Mix64(seed ^ Mix64(value)); }

// FNV-1a, mixed.
inline std::uint64_t HashBytes(const void* data, std::size_t size, std::uint64_t seed = 0) {
  std::uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (std::size_t i = 0; i < size; ++i) {
    hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3u;
  }
  return Mix64(hash);
}

inline std::uint64_t HashString(const std::string& text, std::uint64_t seed = 0) {
  return HashBytes(text.data(), text.size(), seed);
}

// A uniform in [0, 1) from the top 53 bits.
constexpr double UnitUniform(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

}  // namespace leeway
