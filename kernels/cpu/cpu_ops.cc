#include "kernels/cpu/cpu_ops.h"

#include "kernels/cpu/conv3x3.h"
#include "kernels/cpu/cpu_stream.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/softmax.h"
#include "kernels/finite.h"

namespace leeway {
namespace {

CpuStream& Cpu(Stream& stream) { return static_cast<CpuStream&>(stream); }

// Runs `work`, which cannot fail, on `stream`.
template <typename Work>
void Run(Stream& stream, const char* op, Work work) {
  Cpu(stream).Run(op, [&] {
    work();
    return absl::OkStatus();
  });
}

}  // namespace

void CpuOps::LinearForward(Stream& stream, const LinearShape& shape, DevicePtr<const float> x, DevicePtr<const float> w,
                           DevicePtr<const float> bias, DevicePtr<float> y, Activation activation) {
  Run(stream, "linear forward", [&] {
    CpuStream& cpu = Cpu(stream);
    cpu.matmuls().Run(cpu.dnnl_stream(), {Product::kForward, shape.batch, shape.in, shape.out, Write::kOverwrite},
                      x.address(), w.address(), bias.address(), y.address());
    // Not fused into the product: oneDNN's ReLU makes 0 of NaN, which would hide weights that have diverged.
    if (activation == Activation::kRelu) {
      loops::ReluForward(static_cast<std::size_t>(shape.batch * shape.out), y.address(), y.address());
    }
  });
}

void CpuOps::LinearBackwardData(Stream& stream, const LinearShape& shape, DevicePtr<const float> dy,
                                DevicePtr<const float> w, DevicePtr<float> dx) {
  Run(stream, "linear backward data", [&] {
    CpuStream& cpu = Cpu(stream);
    cpu.matmuls().Run(cpu.dnnl_stream(), {Product::kData, shape.batch, shape.in, shape.out, Write::kOverwrite},
                      dy.address(), w.address(), nullptr, dx.address());
  });
}

void CpuOps::LinearBackwardWeights(Stream& stream, const LinearShape& shape, DevicePtr<const float> x,
                                   DevicePtr<const float> dy, DevicePtr<float> dw, DevicePtr<float> dbias,
                                   Write write) {
  Run(stream, "linear backward weights", [&] {
    CpuStream& cpu = Cpu(stream);
    cpu.matmuls().Run(cpu.dnnl_stream(), {Product::kWeights, shape.batch, shape.in, shape.out, write}, dy.address(),
                      x.address(), nullptr, dw.address());
    loops::ColumnSums(shape.batch, shape.out, dy.address(), write == Write::kAdd, dbias.address());
  });
}

absl::StatusOr<std::unique_ptr<Conv3x3>> CpuOps::NewConv3x3(const ImageShape& shape, std::int64_t out_channels) {
  return NewCpuConv3x3(engine_, threads_, shape, out_channels);
}

void CpuOps::ReluForward(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<float> y) {
  Run(stream, "relu", [&] { loops::ReluForward(count, x.address(), y.address()); });
}

void CpuOps::ReluBackward(Stream& stream, std::size_t count, DevicePtr<const float> y, DevicePtr<const float> dy,
                          DevicePtr<float> dx) {
  Run(stream, "relu backward", [&] { loops::ReluBackward(count, y.address(), dy.address(), dx.address()); });
}

void CpuOps::MaxPoolForward(Stream& stream, const ImageShape& shape, DevicePtr<const float> x, DevicePtr<float> y,
                            DevicePtr<std::int32_t> choice, Activation activation) {
  Run(stream, "max pool", [&] { CpuMaxPoolForward(shape, x.address(), y.address(), choice.address(), activation); });
}

void CpuOps::MaxPoolBackward(Stream& stream, const ImageShape& shape, DevicePtr<const float> dy,
                             DevicePtr<const std::int32_t> choice, DevicePtr<float> dx) {
  Run(stream, "max pool backward", [&] { CpuMaxPoolBackward(shape, dy.address(), choice.address(), dx.address()); });
}

void CpuOps::SoftmaxCrossEntropy(Stream& stream, std::int64_t batch, std::int64_t classes,
                                 DevicePtr<const float> logits, DevicePtr<const std::int32_t> labels, float scale,
                                 DevicePtr<float> dlogits, DevicePtr<LossSum> sum) {
  Cpu(stream).Run("softmax cross-entropy", [&] {
    return CpuSoftmaxCrossEntropy({batch, classes, classes}, logits.address(), labels.address(), scale,
                                  dlogits.address(), sum.address());
  });
}

void CpuOps::Fill(Stream& stream, std::size_t count, float value, DevicePtr<float> x) {
  Run(stream, "fill", [&] { loops::Fill(count, value, x.address()); });
}

void CpuOps::Scale(Stream& stream, std::size_t count, float factor, DevicePtr<float> x) {
  Run(stream, "scale", [&] { loops::Scale(count, factor, x.address()); });
}

void CpuOps::Axpy(Stream& stream, std::size_t count, float a, DevicePtr<const float> x, DevicePtr<float> y) {
  Run(stream, "axpy", [&] { loops::Axpy(count, a, x.address(), y.address()); });
}

void CpuOps::SquaredNorm(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<double> result) {
  Run(stream, "squared norm", [&] { *result.address() = loops::SquaredNorm(count, x.address()); });
}

void CpuOps::FindNonFinite(Stream& stream, std::size_t count, DevicePtr<const float> x,
                           DevicePtr<std::int64_t> result) {
  Run(stream, "finite check", [&] {
    const std::size_t index = FirstNonFinite(x.address(), count);
    *result.address() = index == count ? -1 : static_cast<std::int64_t>(index);
  });
}

}  // namespace leeway
