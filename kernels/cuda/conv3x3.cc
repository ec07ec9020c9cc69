#include "kernels/cuda/conv3x3.h"

#include <algorithm>
#include <functional>

#include "common/status_macros.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/images.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/reductions.h"

namespace leeway {
namespace {

class CudaConv3x3 final : public Conv3x3 {
 public:
  CudaConv3x3(const ImageShape& shape, std::int64_t out_channels, std::int64_t tile_images, float* columns)
      : shape_(shape), out_channels_(out_channels), tile_images_(tile_images), columns_(columns) {}
  ~CudaConv3x3() override { static_cast<void>(cudaFree(columns_)); }

  void Forward(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> w,
               DevicePtr<const float> bias, DevicePtr<float> y) override {
    ForEachTile(stream, "convolution forward", batch, [&](CudaStream& on, const Tile& tile) -> absl::Status {
      RETURN_IF_ERROR(ToColumns(on, tile, x));
      return on.Multiply(LinearForwardGemm(tile.product, CUDA_R_32F, columns_, w.address(), bias.address(),
                                           y.address() + tile.first_output));
    });
  }

  void BackwardData(Stream& stream, std::int64_t batch, DevicePtr<const float> dy, DevicePtr<const float> w,
                    DevicePtr<float> dx) override {
    ForEachTile(stream, "convolution backward data", batch, [&](CudaStream& on, const Tile& tile) -> absl::Status {
      RETURN_IF_ERROR(on.Multiply(
          LinearBackwardDataGemm(tile.product, CUDA_R_32F, dy.address() + tile.first_output, w.address(), columns_)));
      return CudaStatus(cuda::ColumnsToImages(on.handle(), tile.images, columns_, dx.address() + tile.first_input),
                        "columns to images");
    });
  }

  void BackwardWeights(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> dy,
                       DevicePtr<float> dw, DevicePtr<float> dbias, Write write) override {
    ForEachTile(stream, "convolution backward weights", batch, [&](CudaStream& on, const Tile& tile) -> absl::Status {
      RETURN_IF_ERROR(ToColumns(on, tile, x));
      // Tiles are added up in their order: the same bits in every run.
      return on.Multiply(LinearBackwardWeightsGemm(tile.product, CUDA_R_32F, columns_, dy.address() + tile.first_output,
                                                   dw.address(), tile.first_input == 0 ? write : Write::kAdd));
    });
    auto& on = static_cast<CudaStream&>(stream);
    on.Run("convolution backward bias", [&]() -> absl::Status {
      ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
      return CudaStatus(
          cuda::ColumnSums(on.handle(), batch * shape_.height * shape_.width, out_channels_, dy.address(), false,
                           write == Write::kAdd, dbias.address(), workspace, CudaStream::kWorkspaceBytes),
          "column sums");
    });
  }

 private:
  // Some images of the batch; first_input and first_output are where they begin in x and y.
  struct Tile {
    cuda::Images images;
    LinearShape product;
    std::int64_t first_input, first_output;
  };

  void ForEachTile(Stream& stream, const char* op, std::int64_t batch,
                   const std::function<absl::Status(CudaStream&, const Tile&)>& work) {
    auto& on = static_cast<CudaStream&>(stream);
    const std::int64_t pixels = shape_.height * shape_.width;
    for (std::int64_t first = 0; first < batch; first += tile_images_) {
      const std::int64_t count = std::min(tile_images_, batch - first);
      const Tile tile{{count, shape_.height, shape_.width, shape_.channels},
                      {count * pixels, shape_.channels * 9, out_channels_},
                      first * pixels * shape_.channels,
                      first * pixels * out_channels_};
      on.Run(op, [&] { return work(on, tile); });
    }
  }

  absl::Status ToColumns(CudaStream& on, const Tile& tile, DevicePtr<const float> x) {
    return CudaStatus(cuda::ImagesToColumns(on.handle(), tile.images, x.address() + tile.first_input, columns_),
                      "images to columns");
  }

  const ImageShape shape_;
  const std::int64_t out_channels_;
  const std::int64_t tile_images_;
  float* const columns_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Conv3x3>> NewCudaConv3x3(const ImageShape& shape, std::int64_t out_channels) {
  const std::size_t image_bytes =
      static_cast<std::size_t>(shape.height * shape.width * shape.channels) * 9 * sizeof(float);
  const auto tile_images =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(kConvScratchBytes / image_bytes), 1, shape.batch);
  void* columns = nullptr;
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaMalloc(&columns, image_bytes * static_cast<std::size_t>(tile_images)));
  return std::make_unique<CudaConv3x3>(shape, out_channels, tile_images, static_cast<float*>(columns));
}

}  // namespace leeway
