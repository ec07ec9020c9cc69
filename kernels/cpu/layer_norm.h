// Layer norm of the cpu backend. Meanings: kernels/transformer_ops.h.
//
// Thread safety: pure functions over the caller's memory.
#pragma once

#include "kernels/transformer_ops.h"

namespace leeway {

void CpuLayerNormForward(const NormShape& shape, const float* x, const float* gain, const float* bias, float* y,
                         float* mean, float* rstd);
void CpuLayerNormBackward(const NormShape& shape, const float* x, const float* gain, const float* mean,
                          const float* rstd, const float* dy, float* dx, Write write_dx, float* dgain, float* dbias,
                          Write write);

}  // namespace leeway
