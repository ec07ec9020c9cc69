#include "kernels/cpu/cpu_transformer_ops.h"

#include <cstring>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/cpu_stream.h"
#include "kernels/cpu/embedding.h"
#include "kernels/cpu/exp_loops.h"
#include "kernels/cpu/layer_norm.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/softmax.h"

namespace leeway {
namespace {

CpuStream& Cpu(Stream& stream) { return static_cast<CpuStream&>(stream); }

const float* In(ConstTypedPtr pointer) { return static_cast<const float*>(pointer.data.address()); }
float* Out(TypedPtr pointer) { return static_cast<float*>(pointer.data.address()); }

// Runs `work`, which returns absl::Status, on `stream`, if all of `arguments` are float32.
template <typename Work>
void RunChecked(Stream& stream, const char* op, std::initializer_list<ConstTypedPtr> arguments, Work work) {
  Cpu(stream).Run(op, [&] {
    for (const ConstTypedPtr& argument : arguments) {
      if (argument.type == DataType::kF32) continue;
      return absl::InvalidArgumentError(absl::StrCat(op, ": bfloat16 data; the cpu backend computes in float32 alone"));
    }
    return work();
  });
}

// As above; `work` cannot fail.
template <typename Work>
void Run(Stream& stream, const char* op, std::initializer_list<ConstTypedPtr> arguments, Work work) {
  RunChecked(stream, op, arguments, [&] {
    work();
    return absl::OkStatus();
  });
}

void Multiply(Stream& stream, Product product, const LinearShape& shape, Write write, const float* left,
              const float* right, const float* bias, float* out) {
  CpuStream& cpu = Cpu(stream);
  cpu.matmuls().Run(cpu.dnnl_stream(), {product, shape.batch, shape.in, shape.out, write}, left, right, bias, out);
}

}  // namespace

void CpuTransformerOps::Cast(Stream& stream, std::size_t count, ConstTypedPtr from, TypedPtr to) {
  Run(stream, "cast", {from, to}, [&] { std::memcpy(Out(to), In(from), count * sizeof(float)); });
}

void CpuTransformerOps::EmbeddingForward(Stream& stream, const EmbeddingShape& shape,
                                         DevicePtr<const std::int32_t> tokens, DevicePtr<const float> wte,
                                         DevicePtr<const float> wpe, TypedPtr y) {
  RunChecked(stream, "embedding", {y},
             [&] { return CpuEmbeddingForward(shape, tokens.address(), wte.address(), wpe.address(), Out(y)); });
}

void CpuTransformerOps::EmbeddingBackward(Stream& stream, const EmbeddingShape& shape,
                                          DevicePtr<const std::int32_t> tokens, ConstTypedPtr dy, DevicePtr<float> dwte,
                                          DevicePtr<float> dwpe, Write write_dwpe) {
  Run(stream, "embedding backward", {dy},
      [&] { CpuEmbeddingBackward(shape, tokens.address(), In(dy), dwte.address(), dwpe.address(), write_dwpe); });
}

void CpuTransformerOps::LayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x,
                                         DevicePtr<const float> gain, DevicePtr<const float> bias, TypedPtr y,
                                         DevicePtr<float> mean, DevicePtr<float> rstd) {
  Run(stream, "layer norm", {x, y}, [&] {
    CpuLayerNormForward(shape, In(x), gain.address(), bias.address(), Out(y), mean.address(), rstd.address());
  });
}

void CpuTransformerOps::AddLayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x,
                                            ConstTypedPtr branch, TypedPtr sum, DevicePtr<const float> gain,
                                            DevicePtr<const float> bias, TypedPtr y, DevicePtr<float> mean,
                                            DevicePtr<float> rstd) {
  Run(stream, "add and layer norm", {x, branch, sum, y}, [&] {
    loops::Add(shape.rows * shape.width, In(x), In(branch), Out(sum));
    CpuLayerNormForward(shape, Out(sum), gain.address(), bias.address(), Out(y), mean.address(), rstd.address());
  });
}

void CpuTransformerOps::LayerNormBackward(Stream& stream, const NormShape& shape, ConstTypedPtr x,
                                          DevicePtr<const float> gain, DevicePtr<const float> mean,
                                          DevicePtr<const float> rstd, ConstTypedPtr dy, TypedPtr dx, Write write_dx,
                                          DevicePtr<float> dgain, DevicePtr<float> dbias, Write write) {
  Run(stream, "layer norm backward", {x, dy, dx}, [&] {
    CpuLayerNormBackward(shape, In(x), gain.address(), mean.address(), rstd.address(), In(dy), Out(dx), write_dx,
                         dgain.address(), dbias.address(), write);
  });
}

void CpuTransformerOps::LinearForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w,
                                      ConstTypedPtr bias, TypedPtr y) {
  Run(stream, "linear forward", {x, w, bias, y}, [&] {
    Multiply(stream, bias ? Product::kForward : Product::kForwardWithoutBias, shape, Write::kOverwrite, In(x), In(w),
             In(bias), Out(y));
  });
}

void CpuTransformerOps::LinearGeluForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w,
                                          ConstTypedPtr bias, TypedPtr pre, TypedPtr y) {
  Run(stream, "linear forward with GELU", {x, w, bias, pre, y}, [&] {
    Multiply(stream, Product::kForward, shape, Write::kOverwrite, In(x), In(w), In(bias), Out(pre));
    loops::GeluForward(static_cast<std::size_t>(shape.batch * shape.out), Out(pre), Out(y));
  });
}

void CpuTransformerOps::LinearBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy, ConstTypedPtr w,
                                           TypedPtr dx) {
  Run(stream, "linear backward data", {dy, w, dx},
      [&] { Multiply(stream, Product::kData, shape, Write::kOverwrite, In(dy), In(w), nullptr, Out(dx)); });
}

void CpuTransformerOps::LinearGeluBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy,
                                               ConstTypedPtr w, ConstTypedPtr pre, TypedPtr dpre) {
  Run(stream, "linear backward data with GELU", {dy, w, pre, dpre}, [&] {
    Multiply(stream, Product::kData, shape, Write::kOverwrite, In(dy), In(w), nullptr, Out(dpre));
    loops::GeluBackward(static_cast<std::size_t>(shape.batch * shape.in), In(pre), Out(dpre));
  });
}

void CpuTransformerOps::LinearBackwardWeights(Stream& stream, const LinearShape& shape, ConstTypedPtr x,
                                              ConstTypedPtr dy, DevicePtr<float> dw, DevicePtr<float> dbias,
                                              Write write) {
  Run(stream, "linear backward weights", {x, dy}, [&] {
    Multiply(stream, Product::kWeights, shape, write, In(dy), In(x), nullptr, dw.address());
    if (dbias) loops::ColumnSums(shape.batch, shape.out, In(dy), write == Write::kAdd, dbias.address());
  });
}

void CpuTransformerOps::AttentionForward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv, TypedPtr y,
                                         DevicePtr<float> lse) {
  Run(stream, "attention", {qkv, y}, [&] {
    CpuAttentionForward(shape, In(qkv), Out(y), lse.address(), Cpu(stream).Scratch(CpuAttentionScratch(shape)));
  });
}

void CpuTransformerOps::AttentionBackward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv,
                                          ConstTypedPtr y, DevicePtr<const float> lse, ConstTypedPtr dy,
                                          TypedPtr dqkv) {
  Run(stream, "attention backward", {qkv, y, dy, dqkv}, [&] {
    CpuAttentionBackward(shape, In(qkv), In(y), lse.address(), In(dy), Out(dqkv),
                         Cpu(stream).Scratch(CpuAttentionScratch(shape)));
  });
}

void CpuTransformerOps::SoftmaxCrossEntropy(Stream& stream, const LogitsShape& shape, ConstTypedPtr logits,
                                            DevicePtr<const std::int32_t> labels, float scale, TypedPtr dlogits,
                                            DevicePtr<LossSum> sum) {
  RunChecked(stream, "softmax cross-entropy", {logits, dlogits}, [&] {
    return CpuSoftmaxCrossEntropy(shape, In(logits), labels.address(), scale, Out(dlogits), sum.address());
  });
}

}  // namespace leeway
