// CudaOps: Ops (kernels/ops.h) on a GPU. Products go to cuBLASLt, the rest to own kernels.
//
// Thread safety: as Ops. Every Stream it is given is a CudaStream.
#pragma once

#include <memory>

#include "kernels/ops.h"

namespace leeway {

class CudaOps final : public Ops {
 public:
  void LinearForward(Stream& stream, const LinearShape& shape, DevicePtr<const float> x, DevicePtr<const float> w,
                     DevicePtr<const float> bias, DevicePtr<float> y, Activation activation) override;
  void LinearBackwardData(Stream& stream, const LinearShape& shape, DevicePtr<const float> dy, DevicePtr<const float> w,
                          DevicePtr<float> dx) override;
  void LinearBackwardWeights(Stream& stream, const LinearShape& shape, DevicePtr<const float> x,
                             DevicePtr<const float> dy, DevicePtr<float> dw, DevicePtr<float> dbias,
                             Write write) override;
  absl::StatusOr<std::unique_ptr<Conv3x3>> NewConv3x3(const ImageShape& shape, std::int64_t out_channels) override;
  void ReluForward(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<float> y) override;
  void ReluBackward(Stream& stream, std::size_t count, DevicePtr<const float> y, DevicePtr<const float> dy,
                    DevicePtr<float> dx) override;
  void MaxPoolForward(Stream& stream, const ImageShape& shape, DevicePtr<const float> x, DevicePtr<float> y,
                      DevicePtr<std::int32_t> choice, Activation activation) override;
  void MaxPoolBackward(Stream& stream, const ImageShape& shape, DevicePtr<const float> dy,
                       DevicePtr<const std::int32_t> choice, DevicePtr<float> dx) override;
  void SoftmaxCrossEntropy(Stream& stream, std::int64_t batch, std::int64_t classes, DevicePtr<const float> logits,
                           DevicePtr<const std::int32_t> labels, float scale, DevicePtr<float> dlogits,
                           DevicePtr<LossSum> sum) override;
  void Fill(Stream& stream, std::size_t count, float value, DevicePtr<float> x) override;
  void Scale(Stream& stream, std::size_t count, float factor, DevicePtr<float> x) override;
  void Axpy(Stream& stream, std::size_t count, float a, DevicePtr<const float> x, DevicePtr<float> y) override;
  void SquaredNorm(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<double> result) override;
  void FindNonFinite(Stream& stream, std::size_t count, DevicePtr<const float> x,
                     DevicePtr<std::int64_t> result) override;
};

}  // namespace leeway
