// CudaTransformerOps: TransformerOps (kernels/transformer_ops.h) on a GPU. Models keep their activations in bfloat16;
// every op also takes float32 (the tests' exact comparison), each call in one type. Products go to cuBLASLt.
//
// Thread safety: as TransformerOps. Every Stream it is given is a CudaStream.
#pragma once

#include "kernels/transformer_ops.h"

namespace leeway {

class CudaTransformerOps final : public TransformerOps {
 public:
  explicit CudaTransformerOps(DataType data_type) : data_type_(data_type) {}

  DataType data_type() const override { return data_type_; }
  void Cast(Stream& stream, std::size_t count, ConstTypedPtr from, TypedPtr to) override;
  void EmbeddingForward(Stream& stream, const EmbeddingShape& shape, DevicePtr<const std::int32_t> tokens,
                        DevicePtr<const float> wte, DevicePtr<const float> wpe, TypedPtr y) override;
  void EmbeddingBackward(Stream& stream, const EmbeddingShape& shape, DevicePtr<const std::int32_t> tokens,
                         ConstTypedPtr dy, DevicePtr<float> dwte, DevicePtr<float> dwpe, Write write_dwpe) override;
  void LayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x, DevicePtr<const float> gain,
                        DevicePtr<const float> bias, TypedPtr y, DevicePtr<float> mean, DevicePtr<float> rstd) override;
  void AddLayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x, ConstTypedPtr branch, TypedPtr sum,
                           DevicePtr<const float> gain, DevicePtr<const float> bias, TypedPtr y, DevicePtr<float> mean,
                           DevicePtr<float> rstd) override;
  void LayerNormBackward(Stream& stream, const NormShape& shape, ConstTypedPtr x, DevicePtr<const float> gain,
                         DevicePtr<const float> mean, DevicePtr<const float> rstd, ConstTypedPtr dy, TypedPtr dx,
                         Write write_dx, DevicePtr<float> dgain, DevicePtr<float> dbias, Write write) override;
  void LinearForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w, ConstTypedPtr bias,
                     TypedPtr y) override;
  void LinearGeluForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w, ConstTypedPtr bias,
                         TypedPtr pre, TypedPtr y) override;
  void LinearBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy, ConstTypedPtr w,
                          TypedPtr dx) override;
  void LinearGeluBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy, ConstTypedPtr w,
                              ConstTypedPtr pre, TypedPtr dpre) override;
  void LinearBackwardWeights(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr dy,
                             DevicePtr<float> dw, DevicePtr<float> dbias, Write write) override;
  void AttentionForward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv, TypedPtr y,
                        DevicePtr<float> lse) override;
  void AttentionBackward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv, ConstTypedPtr y,
                         DevicePtr<const float> lse, ConstTypedPtr dy, TypedPtr dqkv) override;
  void SoftmaxCrossEntropy(Stream& stream, const LogitsShape& shape, ConstTypedPtr logits,
                           DevicePtr<const std::int32_t> labels, float scale, TypedPtr dlogits,
                           DevicePtr<LossSum> sum) override;

 private:
  const DataType data_type_;
};

}  // namespace leeway
