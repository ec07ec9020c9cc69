// Kernels on images [batch, height, width, channels]: max pooling (kernels/ops.h), and the two that make a 3x3
// convolution a matrix product.
//
// Columns are [pixels, channels * 9]: for each pixel what its 3x3 surroundings hold, 0 outside of the image, in the
// order of the convolution's weights [out, in, 3, 3].
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace leeway::cuda {

struct Images {
  std::int64_t batch, height, width, channels;
};

cudaError_t MaxPoolForward(cudaStream_t stream, const Images& shape, const float* x, float* y, std::int32_t* choice,
                           bool relu);
cudaError_t MaxPoolBackward(cudaStream_t stream, const Images& shape, const float* dy, const std::int32_t* choice,
                            float* dx);

cudaError_t ImagesToColumns(cudaStream_t stream, const Images& shape, const float* x, float* columns);
// dx = for each element of the images the sum of its places in the columns.
cudaError_t ColumnsToImages(cudaStream_t stream, const Images& shape, const float* columns, float* dx);

}  // namespace leeway::cuda
