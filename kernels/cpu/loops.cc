#include "kernels/cpu/loops.h"

#include <algorithm>

#include "kernels/target_clones.h"

namespace leeway::loops {

LEEWAY_TARGET_CLONES void Fill(std::size_t count, float value, float* x) { std::fill_n(x, count, value); }

LEEWAY_TARGET_CLONES void Scale(std::size_t count, float factor, float* x) {
  for (std::size_t i = 0; i < count; ++i) x[i] *= factor;
}

LEEWAY_TARGET_CLONES void Axpy(std::size_t count, float a, const float* x, float* y) {
  for (std::size_t i = 0; i < count; ++i) y[i] += a * x[i];
}

LEEWAY_TARGET_CLONES void Add(std::int64_t count, const float* a, const float* b, float* y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = a[i] + b[i];
}

LEEWAY_TARGET_CLONES void ReluForward(std::size_t count, const float* x, float* y) {
  // Written so that NaN stays NaN.
  for (std::size_t i = 0; i < count; ++i) y[i] = x[i] <= 0.0f ? 0.0f : x[i];
}

LEEWAY_TARGET_CLONES void ReluBackward(std::size_t count, const float* y, const float* dy, float* dx) {
  for (std::size_t i = 0; i < count; ++i) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

LEEWAY_TARGET_CLONES double SquaredNorm(std::size_t count, const float* x) {
  // Sums of fixed stride, added up in a fixed order: vectorizes, with one result on every instruction set.
  constexpr std::size_t kLanes = 16;
  double lanes[kLanes] = {};
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double value = x[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (std::size_t i = whole; i < count; ++i) lanes[i - whole] += static_cast<double>(x[i]) * x[i];
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

LEEWAY_TARGET_CLONES void ColumnSums(std::int64_t rows, std::int64_t columns, const float* x, bool add, float* sums) {
  if (!add) std::fill_n(sums, columns, 0.0f);
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* values = x + row * columns;
    for (std::int64_t column = 0; column < columns; ++column) sums[column] += values[column];
  }
}

}  // namespace leeway::loops
