#include "kernels/cuda/cuda_vector_ops.h"

#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/encode_bf16.h"
#include "kernels/cuda/encode_int8.h"
#include "kernels/cuda/encode_top_k.h"
#include "kernels/cuda/optimizer_steps.h"

namespace leeway {
namespace {

template <typename Launch>
void Start(Stream& stream, const char* op, Launch launch) {
  static_cast<CudaStream&>(stream).Start(op, launch);
}

cuda::StepArrays Arrays(const DeviceStep& step) {
  return {
      step.count, step.gradient.address(), step.weights.address(), {step.slots[0].address(), step.slots[1].address()}};
}

}  // namespace

void CudaVectorOps::Step(Stream& stream, const SgdRule& rule, const DeviceStep& step) {
  Start(stream, "sgd step", [&](cudaStream_t on) { return cuda::Step(on, rule, Arrays(step)); });
}

void CudaVectorOps::Step(Stream& stream, const MomentumRule& rule, bool nesterov, const DeviceStep& step) {
  Start(stream, "momentum step", [&](cudaStream_t on) { return cuda::Step(on, rule, nesterov, Arrays(step)); });
}

void CudaVectorOps::Step(Stream& stream, const AdagradRule& rule, const DeviceStep& step) {
  Start(stream, "adagrad step", [&](cudaStream_t on) { return cuda::Step(on, rule, Arrays(step)); });
}

void CudaVectorOps::Step(Stream& stream, const RmspropRule& rule, const DeviceStep& step) {
  Start(stream, "rmsprop step", [&](cudaStream_t on) { return cuda::Step(on, rule, Arrays(step)); });
}

void CudaVectorOps::Step(Stream& stream, const AdamRule& rule, const DeviceStep& step) {
  Start(stream, "adam step", [&](cudaStream_t on) { return cuda::Step(on, rule, Arrays(step)); });
}

void CudaVectorOps::Step(Stream& stream, const FtrlRule& rule, const DeviceStep& step) {
  Start(stream, "ftrl step", [&](cudaStream_t on) { return cuda::Step(on, rule, Arrays(step)); });
}

void CudaVectorOps::EncodeBf16(Stream& stream, std::size_t count, DevicePtr<float> values, bool residual,
                               DevicePtr<std::uint16_t> out) {
  Start(stream, "encode bf16",
        [&](cudaStream_t on) { return cuda::EncodeBf16(on, count, values.address(), residual, out.address()); });
}

void CudaVectorOps::DecodeBf16(Stream& stream, std::size_t count, DevicePtr<const std::uint16_t> values,
                               DevicePtr<float> out) {
  Start(stream, "decode bf16",
        [&](cudaStream_t on) { return cuda::DecodeBf16(on, count, values.address(), out.address()); });
}

void CudaVectorOps::EncodeInt8(Stream& stream, const EncodedBlocks& blocks, DevicePtr<const float> values,
                               DevicePtr<float> residual, DevicePtr<char> out) {
  Start(stream, "encode int8", [&](cudaStream_t on) {
    return cuda::EncodeInt8(on, blocks, values.address(), residual.address(), out.address());
  });
}

void CudaVectorOps::EncodeTopK(Stream& stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                               DevicePtr<const float> values, DevicePtr<float> residual, DevicePtr<char> out) {
  Start(stream, "encode top-k", [&](cudaStream_t on) {
    return cuda::EncodeTopK(on, blocks, kept, last_kept, values.address(), residual.address(), out.address());
  });
}

}  // namespace leeway
