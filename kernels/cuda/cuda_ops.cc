#include "kernels/cuda/cuda_ops.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/cuda/conv3x3.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/images.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/reductions.h"
#include "kernels/cuda/softmax.h"

namespace leeway {
namespace {

CudaStream& Cuda(Stream& stream) { return static_cast<CudaStream&>(stream); }

cuda::Images ToImages(const ImageShape& shape) { return {shape.batch, shape.height, shape.width, shape.channels}; }

}  // namespace

void CudaOps::LinearForward(Stream& stream, const LinearShape& shape, DevicePtr<const float> x,
                            DevicePtr<const float> w, DevicePtr<const float> bias, DevicePtr<float> y,
                            Activation activation) {
  CudaStream& on = Cuda(stream);
  on.Run("linear forward", [&]() -> absl::Status {
    RETURN_IF_ERROR(
        on.Multiply(LinearForwardGemm(shape, CUDA_R_32F, x.address(), w.address(), bias.address(), y.address())));
    if (activation == Activation::kNone) return absl::OkStatus();
    // Not cuBLASLt's epilogue, which says nothing of NaN: a ReLU that makes 0 of it hides weights that have diverged.
    const auto count = static_cast<std::size_t>(shape.batch * shape.out);
    return CudaStatus(cuda::ReluForward(on.handle(), count, y.address(), y.address()), "relu");
  });
}

void CudaOps::LinearBackwardData(Stream& stream, const LinearShape& shape, DevicePtr<const float> dy,
                                 DevicePtr<const float> w, DevicePtr<float> dx) {
  CudaStream& on = Cuda(stream);
  on.Run("linear backward data", [&] {
    return on.Multiply(LinearBackwardDataGemm(shape, CUDA_R_32F, dy.address(), w.address(), dx.address()));
  });
}

void CudaOps::LinearBackwardWeights(Stream& stream, const LinearShape& shape, DevicePtr<const float> x,
                                    DevicePtr<const float> dy, DevicePtr<float> dw, DevicePtr<float> dbias,
                                    Write write) {
  CudaStream& on = Cuda(stream);
  on.Run("linear backward weights", [&]() -> absl::Status {
    RETURN_IF_ERROR(
        on.Multiply(LinearBackwardWeightsGemm(shape, CUDA_R_32F, x.address(), dy.address(), dw.address(), write)));
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    return CudaStatus(cuda::ColumnSums(on.handle(), shape.batch, shape.out, dy.address(), false, write == Write::kAdd,
                                       dbias.address(), workspace, CudaStream::kWorkspaceBytes),
                      "column sums");
  });
}

absl::StatusOr<std::unique_ptr<Conv3x3>> CudaOps::NewConv3x3(const ImageShape& shape, std::int64_t out_channels) {
  return NewCudaConv3x3(shape, out_channels);
}

void CudaOps::ReluForward(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<float> y) {
  Cuda(stream).Start("relu", [&](cudaStream_t on) { return cuda::ReluForward(on, count, x.address(), y.address()); });
}

void CudaOps::ReluBackward(Stream& stream, std::size_t count, DevicePtr<const float> y, DevicePtr<const float> dy,
                           DevicePtr<float> dx) {
  Cuda(stream).Start("relu backward", [&](cudaStream_t on) {
    return cuda::ReluBackward(on, count, y.address(), dy.address(), dx.address());
  });
}

void CudaOps::MaxPoolForward(Stream& stream, const ImageShape& shape, DevicePtr<const float> x, DevicePtr<float> y,
                             DevicePtr<std::int32_t> choice, Activation activation) {
  Cuda(stream).Start("max pool", [&](cudaStream_t on) {
    return cuda::MaxPoolForward(on, ToImages(shape), x.address(), y.address(), choice.address(),
                                activation == Activation::kRelu);
  });
}

void CudaOps::MaxPoolBackward(Stream& stream, const ImageShape& shape, DevicePtr<const float> dy,
                              DevicePtr<const std::int32_t> choice, DevicePtr<float> dx) {
  Cuda(stream).Start("max pool backward", [&](cudaStream_t on) {
    return cuda::MaxPoolBackward(on, ToImages(shape), dy.address(), choice.address(), dx.address());
  });
}

void CudaOps::SoftmaxCrossEntropy(Stream& stream, std::int64_t batch, std::int64_t classes,
                                  DevicePtr<const float> logits, DevicePtr<const std::int32_t> labels, float scale,
                                  DevicePtr<float> dlogits, DevicePtr<LossSum> sum) {
  CudaStream& on = Cuda(stream);
  on.Run("softmax cross-entropy", [&]() -> absl::Status {
    if (const std::int64_t most = cuda::CrossEntropyRows(CudaStream::kWorkspaceBytes); batch > most) {
      return absl::InvalidArgumentError(absl::StrCat("a batch of ", batch, " rows; at most ", most));
    }
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    // Addresses of device memory: computed here, written there.
    LossSum* const result = sum.address();
    const cuda::CrossEntropy args{.rows = batch,
                                  .classes = classes,
                                  .columns = classes,
                                  .logits = logits.address(),
                                  .dlogits = dlogits.address(),
                                  .bf16 = false,
                                  .labels = labels.address(),
                                  .scale = scale,
                                  .loss_sum = &result->loss_sum,
                                  .correct = &result->correct,
                                  .fault = on.fault()};
    return CudaStatus(cuda::SoftmaxCrossEntropy(on.handle(), args, workspace), "launch");
  });
}

void CudaOps::Fill(Stream& stream, std::size_t count, float value, DevicePtr<float> x) {
  Cuda(stream).Start("fill", [&](cudaStream_t on) { return cuda::Fill(on, count, value, x.address()); });
}

void CudaOps::Scale(Stream& stream, std::size_t count, float factor, DevicePtr<float> x) {
  Cuda(stream).Start("scale", [&](cudaStream_t on) { return cuda::Scale(on, count, factor, x.address()); });
}

void CudaOps::Axpy(Stream& stream, std::size_t count, float a, DevicePtr<const float> x, DevicePtr<float> y) {
  Cuda(stream).Start("axpy", [&](cudaStream_t on) { return cuda::Axpy(on, count, a, x.address(), y.address()); });
}

void CudaOps::SquaredNorm(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<double> result) {
  CudaStream& on = Cuda(stream);
  on.Run("squared norm", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    return CudaStatus(cuda::SquaredNorm(on.handle(), count, x.address(), result.address(), workspace), "launch");
  });
}

void CudaOps::FindNonFinite(Stream& stream, std::size_t count, DevicePtr<const float> x,
                            DevicePtr<std::int64_t> result) {
  CudaStream& on = Cuda(stream);
  on.Run("finite check", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    return CudaStatus(cuda::FindNonFinite(on.handle(), count, x.address(), result.address(), workspace), "launch");
  });
}

}  // namespace leeway
