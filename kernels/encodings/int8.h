// INT8: one signed byte q per value, with one scale per block; the value is scale * q.
//
// scale = max|v| / 127, 0 when every value is 0; q = v / scale, rounded to float32 and then to the nearest integer,
// ties to even. The scale is kept between the least normal float32 (below it, it would lose the precision that the
// bound |v - scale * q| <= scale / 2 needs) and the greatest one of which 127 times is finite.
//
// Thread safety: pure functions. Bytes may lie at any address.
#pragma once

#include <cstddef>

namespace leeway {

// Requires finite values.
float Int8Scale(const float* values, std::size_t count);

// Requires the scale of these values.
void EncodeInt8(const float* values, std::size_t count, float scale, char* out);
// As EncodeInt8, and takes scale * q off the values.
void EncodeInt8Residual(float* values, std::size_t count, float scale, char* out);

void DecodeInt8(const char* bytes, std::size_t count, float scale, float* out);
void DecodeAddInt8(const char* bytes, std::size_t count, float scale, float* out);

}  // namespace leeway
