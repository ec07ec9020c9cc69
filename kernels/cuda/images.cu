#include <algorithm>

#include "kernels/cuda/images.h"
#include "kernels/cuda/launch.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int32_t kCutOff = 4;

// Calls a kernel's body for every index below `count`, with fewer blocks than CUDA allows however large that is.
unsigned Blocks(std::int64_t count) { return std::min(CeilDiv(static_cast<std::size_t>(count), kThreads), 1u << 20); }
__device__ std::int64_t FirstIndex() { return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
__device__ std::int64_t Stride() { return static_cast<std::int64_t>(gridDim.x) * kThreads; }

__global__ void PoolForward(Images shape, std::int64_t outputs, const float* x, float* y, std::int32_t* choice,
                            bool relu) {
  const std::int64_t height = shape.height / 2, width = shape.width / 2, row = shape.width * shape.channels;
  for (std::int64_t i = FirstIndex(); i < outputs; i += Stride()) {
    const std::int64_t c = i % shape.channels, pixel = i / shape.channels;
    const std::int64_t column = pixel % width, line = pixel / width % height, image = pixel / width / height;
    const float* const window = x + (image * shape.height + 2 * line) * row + 2 * column * shape.channels + c;
    const float values[4] = {window[0], window[shape.channels], window[row], window[row + shape.channels]};
    float best = values[0];
    std::int32_t which = 0;
    for (std::int32_t k = 1; k < 4; ++k) {
      // A NaN wins and stays, as in PyTorch: it must not vanish in a pool.
      if (values[k] > best || isnan(values[k])) {
        best = values[k];
        which = k;
      }
    }
    const bool cut = relu && best <= 0;
    y[i] = cut ? 0.0f : best;
    choice[i] = cut ? kCutOff : which;
  }
}

__global__ void PoolBackward(Images shape, std::int64_t elements, const float* dy, const std::int32_t* choice,
                             float* dx) {
  const std::int64_t height = shape.height / 2, width = shape.width / 2;
  for (std::int64_t i = FirstIndex(); i < elements; i += Stride()) {
    const std::int64_t c = i % shape.channels, pixel = i / shape.channels;
    const std::int64_t column = pixel % shape.width, line = pixel / shape.width % shape.height;
    const std::int64_t image = pixel / shape.width / shape.height;
    float gradient = 0;
    if (line / 2 < height && column / 2 < width) {  // not in an odd last row or column
      const std::int64_t at = ((image * height + line / 2) * width + column / 2) * shape.channels + c;
      const std::int64_t here = line % 2 * 2 + column % 2;
      if (choice[at] == here) gradient = dy[at];
    }
    dx[i] = gradient;
  }
}

__global__ void ToColumns(Images shape, std::int64_t elements, const float* x, float* columns) {
  for (std::int64_t i = FirstIndex(); i < elements; i += Stride()) {
    const std::int64_t tap = i % 9, channel = i / 9 % shape.channels, pixel = i / 9 / shape.channels;
    const std::int64_t column = pixel % shape.width + tap % 3 - 1;
    const std::int64_t line = pixel / shape.width % shape.height + tap / 3 - 1;
    float value = 0;
    if (column >= 0 && column < shape.width && line >= 0 && line < shape.height) {
      value = x[(pixel + (tap / 3 - 1) * shape.width + tap % 3 - 1) * shape.channels + channel];
    }
    columns[i] = value;
  }
}

__global__ void FromColumns(Images shape, std::int64_t elements, const float* columns, float* dx) {
  for (std::int64_t i = FirstIndex(); i < elements; i += Stride()) {
    const std::int64_t channel = i % shape.channels, pixel = i / shape.channels;
    const std::int64_t column = pixel % shape.width, line = pixel / shape.width % shape.height;
    float sum = 0;
    for (int tap = 0; tap < 9; ++tap) {
      // The pixel whose surroundings have this one at `tap`.
      const int down = 1 - tap / 3, right = 1 - tap % 3;
      if (column + right < 0 || column + right >= shape.width || line + down < 0 || line + down >= shape.height)
        continue;
      sum += columns[((pixel + down * shape.width + right) * shape.channels + channel) * 9 + tap];
    }
    dx[i] = sum;
  }
}

std::int64_t Elements(const Images& shape) { return shape.batch * shape.height * shape.width * shape.channels; }

}  // namespace

cudaError_t MaxPoolForward(cudaStream_t stream, const Images& shape, const float* x, float* y, std::int32_t* choice,
                           bool relu) {
  const std::int64_t outputs = shape.batch * (shape.height / 2) * (shape.width / 2) * shape.channels;
  if (outputs == 0) return cudaSuccess;
  PoolForward<<<Blocks(outputs), kThreads, 0, stream>>>(shape, outputs, x, y, choice, relu);
  return cudaGetLastError();
}

cudaError_t MaxPoolBackward(cudaStream_t stream, const Images& shape, const float* dy, const std::int32_t* choice,
                            float* dx) {
  PoolBackward<<<Blocks(Elements(shape)), kThreads, 0, stream>>>(shape, Elements(shape), dy, choice, dx);
  return cudaGetLastError();
}

cudaError_t ImagesToColumns(cudaStream_t stream, const Images& shape, const float* x, float* columns) {
  ToColumns<<<Blocks(Elements(shape) * 9), kThreads, 0, stream>>>(shape, Elements(shape) * 9, x, columns);
  return cudaGetLastError();
}

cudaError_t ColumnsToImages(cudaStream_t stream, const Images& shape, const float* columns, float* dx) {
  FromColumns<<<Blocks(Elements(shape)), kThreads, 0, stream>>>(shape, Elements(shape), columns, dx);
  return cudaGetLastError();
}

}  // namespace leeway::cuda
