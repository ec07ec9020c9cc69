// BF16: the upper half of a float32, rounded to nearest, ties to even.
//
// What is finite stays finite: a value beyond the greatest finite bfloat16 becomes that, where plain rounding gives an
// infinity. An infinite residual would be lost for good, and the shard refuses a payload with an infinity in it.
// NaN and infinity stay NaN and infinity.
//
// Thread safety: pure functions. Bytes may lie at any address.
#pragma once

#include <cstddef>

namespace leeway {

void EncodeBf16(const float* values, std::size_t count, char* out);
// As EncodeBf16, and takes what it wrote off the values.
void EncodeBf16Residual(float* values, std::size_t count, char* out);

void DecodeBf16(const char* bytes, std::size_t count, float* out);
void DecodeAddBf16(const char* bytes, std::size_t count, float* out);

}  // namespace leeway
