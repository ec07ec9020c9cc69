// 2x2 max pooling of the cpu backend. Meanings: MaxPoolForward, MaxPoolBackward of kernels/ops.h.
//
// Thread safety: pure functions over the caller's memory.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace leeway {

void CpuMaxPoolForward(const ImageShape& shape, const float* x, float* y, std::int32_t* choice, Activation activation);
void CpuMaxPoolBackward(const ImageShape& shape, const float* dy, const std::int32_t* choice, float* dx);

}  // namespace leeway
