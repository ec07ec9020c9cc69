// The cpu backend's loops over exponentials: softmax and GELU. The exponential is a polynomial of its own, within 2
// ulp: the C library's does not vectorize.
//
// Thread safety: pure functions over the caller's memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leeway::loops {

// The largest of x; NaN does not count.
float Max(std::int64_t count, const float* x);

// y = exp(scale * x - shift), 0 where that is below 2^-125; returns its sum. y may be x, or null: then it is only
// summed. Exponents above 88.7 give about 2^128, not Inf.
double ExpSum(std::int64_t count, float scale, float shift, const float* x, float* y);

// The tanh approximation of GELU; kernels/transformer_ops.h says it in full. y may be x.
void GeluForward(std::size_t count, const float* x, float* y);
// dx *= gelu'(x).
void GeluBackward(std::size_t count, const float* x, float* dx);

}  // namespace leeway::loops
