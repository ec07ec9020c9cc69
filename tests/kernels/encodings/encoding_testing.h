// Values that encodings find hard, and payloads cut where nobody expects it.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/buffer.h"
#include "proto/parameter_server.pb.h"

namespace leeway::testing {

inline constexpr v1::Encoding kEncodings[] = {v1::F32, v1::BF16, v1::INT8, v1::TOP_K};

// kSpread: magnitudes from 1e-12 to 1e6, both signs. kEqual: few different values, for ties. kHuge: up to the greatest
// float32. kTiny: denormals. kBits: any finite float32 that there is, zeros of both signs among them.
enum class Kind { kGradient, kSpread, kEqual, kZero, kHuge, kTiny, kBits };
inline constexpr Kind kKinds[] = {Kind::kGradient, Kind::kSpread, Kind::kEqual, Kind::kZero,
                                  Kind::kHuge,     Kind::kTiny,   Kind::kBits};

// All finite.
std::vector<float> MakeValues(Kind kind, std::size_t count, std::uint64_t seed);

// `bytes` in slices that begin at `cuts` (ascending, each inside), every one in memory of its own at an odd address, so
// that an address sanitizer sees who reads past one.
Buffer Cut(const std::string& bytes, const std::vector<std::size_t>& cuts);
// The same at random places, some of them neighbours.
Buffer CutAnywhere(const std::string& bytes, std::uint64_t seed);

// Equal bit for bit: NaN equals itself, 0 does not equal -0.
bool SameBits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace leeway::testing
