// Axpy: y = y + a * x, the loop that memory speed is judged by: it reads two arrays and writes one, as SGD must.
//
// Thread safety: pure function.
#pragma once

#include <cstddef>

namespace leeway {

void Axpy(float a, const float* x, std::size_t count, float* y);

}  // namespace leeway
