// The loops of error feedback: what an encoding leaves out is kept and added to what comes next.
//
// Thread safety: pure functions over the caller's memory. Invariant: the same bits on every instruction set.
#pragma once

#include <cstddef>

namespace leeway {

// Above this nothing is encoded: the sum of a residual and of every push in flight then stays finite.
inline constexpr float kEncodableLimit = 0x1p120f;

// Whether every value is below the limit, in magnitude: of `values`; of residual + values; of
// sum + (momentum * velocity + values). NaN and infinity are not.
bool Encodable(const float* values, std::size_t count);
bool SumEncodable(const float* residual, const float* values, std::size_t count);
bool MomentumSumEncodable(const float* sum, const float* velocity, float momentum, const float* values,
                          std::size_t count);

// sum += values.
void AddValues(const float* values, std::size_t count, float* sum);

// velocity = momentum * velocity + values, then sum += velocity (deep gradient compression, Lin et al. 2018).
void AddMomentum(const float* values, std::size_t count, float momentum, float* velocity, float* sum);

}  // namespace leeway
