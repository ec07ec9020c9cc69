#include "kernels/encodings/residual.h"

#include <bit>
#include <cstdint>

#include "kernels/target_clones.h"

namespace leeway {
namespace {

// 1 when |value| is not below the limit: floats without their sign order like the integers of their bits, and NaN
// and infinity lie above all others.
inline std::uint32_t Beyond(float value) {
  return (std::bit_cast<std::uint32_t>(value) & 0x7fffffffu) >= std::bit_cast<std::uint32_t>(kEncodableLimit) ? 1 : 0;
}

}  // namespace

LEEWAY_TARGET_CLONES
bool Encodable(const float* values, std::size_t count) {
  std::uint32_t beyond = 0;
  for (std::size_t i = 0; i < count; ++i) beyond |= Beyond(values[i]);
  return beyond == 0;
}

LEEWAY_TARGET_CLONES
bool SumEncodable(const float* residual, const float* values, std::size_t count) {
  std::uint32_t beyond = 0;
  for (std::size_t i = 0; i < count; ++i) beyond |= Beyond(residual[i] + values[i]);
  return beyond == 0;
}

LEEWAY_TARGET_CLONES
bool MomentumSumEncodable(const float* sum, const float* velocity, float momentum, const float* values,
                          std::size_t count) {
  std::uint32_t beyond = 0;
  for (std::size_t i = 0; i < count; ++i) beyond |= Beyond(sum[i] + (momentum * velocity[i] + values[i]));
  return beyond == 0;
}

LEEWAY_TARGET_CLONES
void AddValues(const float* values, std::size_t count, float* sum) {
  for (std::size_t i = 0; i < count; ++i) sum[i] += values[i];
}

LEEWAY_TARGET_CLONES
void AddMomentum(const float* values, std::size_t count, float momentum, float* velocity, float* sum) {
  for (std::size_t i = 0; i < count; ++i) {
    velocity[i] = momentum * velocity[i] + values[i];
    sum[i] += velocity[i];
  }
}

}  // namespace leeway
