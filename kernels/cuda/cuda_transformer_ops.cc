#include "kernels/cuda/cuda_transformer_ops.h"

#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/layer_norm.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/reductions.h"
#include "kernels/cuda/softmax.h"

namespace leeway {
namespace {

CudaStream& Cuda(Stream& stream) { return static_cast<CudaStream&>(stream); }

const void* In(ConstTypedPtr pointer) { return pointer.data.address(); }
void* Out(TypedPtr pointer) { return pointer.data.address(); }

cudaDataType_t CudaType(DataType type) { return type == DataType::kBf16 ? CUDA_R_16BF : CUDA_R_32F; }

// Calls `work` on `stream`, if all of `arguments` that are not null are of one type, which it gets: true for bfloat16.
template <typename Work>
void Run(Stream& stream, const char* op, std::initializer_list<ConstTypedPtr> arguments, Work work) {
  const DataType type = arguments.begin()->type;
  CudaStream& on = Cuda(stream);
  on.Run(op, [&]() -> absl::Status {
    for (const ConstTypedPtr& argument : arguments) {
      if (argument && argument.type != type) return absl::InvalidArgumentError("arguments of two types");
    }
    return work(on, type);
  });
}

std::size_t Elements(std::int64_t rows, std::int64_t columns) { return static_cast<std::size_t>(rows * columns); }

// Whether cuBLASLt's epilogues with a second matrix can serve: they want 16 bytes' alignment of every column.
bool AuxFits(DataType type, std::int64_t columns, const void* aux) {
  return type == DataType::kBf16 && columns % 8 == 0 && reinterpret_cast<std::uintptr_t>(aux) % 16 == 0;
}

absl::Status Norm(CudaStream& on, const NormShape& shape, DataType type, ConstTypedPtr x, ConstTypedPtr branch,
                  TypedPtr sum, DevicePtr<const float> gain, DevicePtr<const float> bias, TypedPtr y,
                  DevicePtr<float> mean, DevicePtr<float> rstd) {
  const cuda::NormForward args{.rows = shape.rows,
                               .width = shape.width,
                               .bf16 = type == DataType::kBf16,
                               .x = In(x),
                               .branch = In(branch),
                               .sum = Out(sum),
                               .gain = gain.address(),
                               .bias = bias.address(),
                               .y = Out(y),
                               .mean = mean.address(),
                               .rstd = rstd.address()};
  return CudaStatus(cuda::LayerNormForward(on.handle(), args), "launch");
}

absl::StatusOr<cuda::Attention> AttentionArgs(const AttentionShape& shape, DataType type, ConstTypedPtr qkv) {
  if (shape.head_size > cuda::kMaxHeadSize) {
    return absl::InvalidArgumentError(absl::StrCat("heads of ", shape.head_size, "; at most ", cuda::kMaxHeadSize));
  }
  return cuda::Attention{.batch = shape.batch,
                         .length = shape.length,
                         .heads = shape.heads,
                         .head_size = shape.head_size,
                         .bf16 = type == DataType::kBf16,
                         .qkv = In(qkv),
                         .y = nullptr,
                         .lse = nullptr,
                         .dy = nullptr,
                         .dqkv = nullptr};
}

}  // namespace

void CudaTransformerOps::Cast(Stream& stream, std::size_t count, ConstTypedPtr from, TypedPtr to) {
  Cuda(stream).Start("cast", [&](cudaStream_t on) {
    return cuda::Cast(on, count, In(from), from.type == DataType::kBf16, Out(to), to.type == DataType::kBf16);
  });
}

void CudaTransformerOps::EmbeddingForward(Stream& stream, const EmbeddingShape& shape,
                                          DevicePtr<const std::int32_t> tokens, DevicePtr<const float> wte,
                                          DevicePtr<const float> wpe, TypedPtr y) {
  Run(stream, "embedding", {y}, [&](CudaStream& on, DataType type) {
    const cuda::Embedding args{shape.batch,     shape.length, shape.vocabulary, shape.width, type == DataType::kBf16,
                               tokens.address()};
    return CudaStatus(cuda::EmbeddingForward(on.handle(), args, wte.address(), wpe.address(), Out(y), on.fault()),
                      "launch");
  });
}

void CudaTransformerOps::EmbeddingBackward(Stream& stream, const EmbeddingShape& shape,
                                           DevicePtr<const std::int32_t> tokens, ConstTypedPtr dy,
                                           DevicePtr<float> dwte, DevicePtr<float> dwpe, Write write_dwpe) {
  Run(stream, "embedding backward", {dy}, [&](CudaStream& on, DataType type) {
    const cuda::Embedding args{shape.batch,     shape.length, shape.vocabulary, shape.width, type == DataType::kBf16,
                               tokens.address()};
    return CudaStatus(
        cuda::EmbeddingBackward(on.handle(), args, In(dy), dwte.address(), dwpe.address(), write_dwpe == Write::kAdd),
        "launch");
  });
}

void CudaTransformerOps::LayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x,
                                          DevicePtr<const float> gain, DevicePtr<const float> bias, TypedPtr y,
                                          DevicePtr<float> mean, DevicePtr<float> rstd) {
  Run(stream, "layer norm", {x, y},
      [&](CudaStream& on, DataType type) { return Norm(on, shape, type, x, {}, {}, gain, bias, y, mean, rstd); });
}

void CudaTransformerOps::AddLayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x,
                                             ConstTypedPtr branch, TypedPtr sum, DevicePtr<const float> gain,
                                             DevicePtr<const float> bias, TypedPtr y, DevicePtr<float> mean,
                                             DevicePtr<float> rstd) {
  Run(stream, "add and layer norm", {x, branch, sum, y},
      [&](CudaStream& on, DataType type) { return Norm(on, shape, type, x, branch, sum, gain, bias, y, mean, rstd); });
}

void CudaTransformerOps::LayerNormBackward(Stream& stream, const NormShape& shape, ConstTypedPtr x,
                                           DevicePtr<const float> gain, DevicePtr<const float> mean,
                                           DevicePtr<const float> rstd, ConstTypedPtr dy, TypedPtr dx, Write write_dx,
                                           DevicePtr<float> dgain, DevicePtr<float> dbias, Write write) {
  Run(stream, "layer norm backward", {x, dy, dx}, [&](CudaStream& on, DataType type) -> absl::Status {
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    const cuda::NormBackward args{.rows = shape.rows,
                                  .width = shape.width,
                                  .bf16 = type == DataType::kBf16,
                                  .x = In(x),
                                  .gain = gain.address(),
                                  .mean = mean.address(),
                                  .rstd = rstd.address(),
                                  .dy = In(dy),
                                  .dx = Out(dx),
                                  .add_dx = write_dx == Write::kAdd,
                                  .dgain = dgain.address(),
                                  .dbias = dbias.address(),
                                  .add = write == Write::kAdd};
    return CudaStatus(cuda::LayerNormBackward(on.handle(), args, workspace, CudaStream::kWorkspaceBytes), "launch");
  });
}

void CudaTransformerOps::LinearForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w,
                                       ConstTypedPtr bias, TypedPtr y) {
  Run(stream, "linear forward", {x, w, bias, y}, [&](CudaStream& on, DataType type) {
    return on.Multiply(LinearForwardGemm(shape, CudaType(type), In(x), In(w), In(bias), Out(y)));
  });
}

void CudaTransformerOps::LinearGeluForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w,
                                           ConstTypedPtr bias, TypedPtr pre, TypedPtr y) {
  Run(stream, "linear forward with GELU", {x, w, bias, pre, y}, [&](CudaStream& on, DataType type) -> absl::Status {
    if (AuxFits(type, shape.out, Out(pre))) {
      Gemm gemm = LinearForwardGemm(shape, CudaType(type), In(x), In(w), In(bias), Out(y));
      gemm.plan.epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
      gemm.aux = Out(pre);
      return on.Multiply(gemm);
    }
    RETURN_IF_ERROR(on.Multiply(LinearForwardGemm(shape, CudaType(type), In(x), In(w), In(bias), Out(pre))));
    return CudaStatus(
        cuda::GeluForward(on.handle(), Elements(shape.batch, shape.out), type == DataType::kBf16, Out(pre), Out(y)),
        "gelu");
  });
}

void CudaTransformerOps::LinearBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy, ConstTypedPtr w,
                                            TypedPtr dx) {
  Run(stream, "linear backward data", {dy, w, dx}, [&](CudaStream& on, DataType type) {
    return on.Multiply(LinearBackwardDataGemm(shape, CudaType(type), In(dy), In(w), Out(dx)));
  });
}

void CudaTransformerOps::LinearGeluBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy,
                                                ConstTypedPtr w, ConstTypedPtr pre, TypedPtr dpre) {
  Run(stream, "linear backward data through GELU", {dy, w, pre, dpre},
      [&](CudaStream& on, DataType type) -> absl::Status {
        Gemm gemm = LinearBackwardDataGemm(shape, CudaType(type), In(dy), In(w), Out(dpre));
        if (AuxFits(type, shape.in, In(pre))) {
          gemm.plan.epilogue = CUBLASLT_EPILOGUE_DGELU;
          gemm.aux = const_cast<void*>(In(pre));  // read alone
          return on.Multiply(gemm);
        }
        RETURN_IF_ERROR(on.Multiply(gemm));
        return CudaStatus(cuda::GeluBackward(on.handle(), Elements(shape.batch, shape.in), type == DataType::kBf16,
                                             In(pre), Out(dpre)),
                          "gelu backward");
      });
}

void CudaTransformerOps::LinearBackwardWeights(Stream& stream, const LinearShape& shape, ConstTypedPtr x,
                                               ConstTypedPtr dy, DevicePtr<float> dw, DevicePtr<float> dbias,
                                               Write write) {
  Run(stream, "linear backward weights", {x, dy}, [&](CudaStream& on, DataType type) -> absl::Status {
    RETURN_IF_ERROR(on.Multiply(LinearBackwardWeightsGemm(shape, CudaType(type), In(x), In(dy), dw.address(), write)));
    if (!dbias) return absl::OkStatus();
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    return CudaStatus(cuda::ColumnSums(on.handle(), shape.batch, shape.out, In(dy), type == DataType::kBf16,
                                       write == Write::kAdd, dbias.address(), workspace, CudaStream::kWorkspaceBytes),
                      "column sums");
  });
}

void CudaTransformerOps::AttentionForward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv, TypedPtr y,
                                          DevicePtr<float> lse) {
  Run(stream, "attention", {qkv, y}, [&](CudaStream& on, DataType type) -> absl::Status {
    ASSIGN_OR_RETURN(cuda::Attention args, AttentionArgs(shape, type, qkv));
    args.y = Out(y);
    args.lse = lse.address();
    return CudaStatus(cuda::AttentionForward(on.handle(), args), "launch");
  });
}

void CudaTransformerOps::AttentionBackward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv,
                                           ConstTypedPtr y, DevicePtr<const float> lse, ConstTypedPtr dy,
                                           TypedPtr dqkv) {
  Run(stream, "attention backward", {qkv, y, dy, dqkv}, [&](CudaStream& on, DataType type) -> absl::Status {
    ASSIGN_OR_RETURN(cuda::Attention args, AttentionArgs(shape, type, qkv));
    args.y = In(y);
    args.lse = const_cast<float*>(lse.address());  // read alone
    args.dy = In(dy);
    args.dqkv = Out(dqkv);
    if (cuda::AttentionWorkspace(args) > CudaStream::kWorkspaceBytes) {
      return absl::InvalidArgumentError(absl::StrCat(shape.batch, " x ", shape.heads, " heads x ", shape.length,
                                                     " positions; at most ",
                                                     CudaStream::kWorkspaceBytes / sizeof(float)));
    }
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    return CudaStatus(cuda::AttentionBackward(on.handle(), args, workspace), "launch");
  });
}

void CudaTransformerOps::SoftmaxCrossEntropy(Stream& stream, const LogitsShape& shape, ConstTypedPtr logits,
                                             DevicePtr<const std::int32_t> labels, float scale, TypedPtr dlogits,
                                             DevicePtr<LossSum> sum) {
  Run(stream, "softmax cross-entropy", {logits, dlogits}, [&](CudaStream& on, DataType type) -> absl::Status {
    if (const std::int64_t most = cuda::CrossEntropyRows(CudaStream::kWorkspaceBytes); shape.rows > most) {
      return absl::InvalidArgumentError(absl::StrCat(shape.rows, " rows; at most ", most));
    }
    ASSIGN_OR_RETURN(void* const workspace, on.Workspace());
    LossSum* const result = sum.address();
    const cuda::CrossEntropy args{.rows = shape.rows,
                                  .classes = shape.classes,
                                  .columns = shape.columns,
                                  .logits = In(logits),
                                  .dlogits = Out(dlogits),
                                  .bf16 = type == DataType::kBf16,
                                  .labels = labels.address(),
                                  .scale = scale,
                                  .loss_sum = &result->loss_sum,
                                  .correct = &result->correct,
                                  .fault = on.fault()};
    return CudaStatus(cuda::SoftmaxCrossEntropy(on.handle(), args, workspace), "launch");
  });
}

}  // namespace leeway
