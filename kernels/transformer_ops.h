// TransformerOps: the arithmetic of a decoder-only transformer, enqueued on a Stream. A Backend hands it out beside
// its Ops (Backend::transformer_ops()).
//
// Activations and their gradients, and the matrices and biases of linear layers, are of data_type(): float32, or
// bfloat16 on a backend whose matrix units want it. All typed arguments of one call have that one type, except those
// of Cast. Whatever the type is, sums are taken in float32 or better and rounded once, when the result is stored;
// weight gradients, layer norm's and the embedding's weights, and statistics (mean, rstd, lse) are float32. A model on
// a bfloat16 backend casts its weights once at the start of a step.
//
// All tensors are dense, row by row. Sizes are positive and may be odd. Typed pointers are aligned to 16 bytes if the
// caller can (a tensor's place in the model vector may not be); ops must be right for any pointer that is aligned to
// its elements. What an op reads must not overlap what it writes, except where its comment allows it.
//
// Results are the same bits in every run on the same machine with the same number of threads: no float atomics.
// NaN and Inf pass through: no op turns one into a finite number (a NaN may spread further: in attention to rows of its
// sequence that do not depend on it). Scratch memory is the backend's: kept with the
// stream, allocated when a shape is first seen and not again.
//
// Thread safety: as Ops: several threads, each with a stream of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/backend.h"
#include "kernels/ops.h"

namespace leeway {

enum class DataType { kF32, kBf16 };

inline std::size_t SizeOf(DataType type) { return type == DataType::kF32 ? 4 : 2; }

// An address of numbers whose type is known at run time. May be null.
template <typename Void>
struct BasicTypedPtr {
  DevicePtr<Void> data;
  DataType type = DataType::kF32;

  BasicTypedPtr() = default;
  BasicTypedPtr(DevicePtr<Void> address, DataType data_type) : data(address), type(data_type) {}
  // A TypedPtr is a ConstTypedPtr.
  template <typename U, typename = std::enable_if_t<std::is_convertible_v<U*, Void*>>>
  BasicTypedPtr(BasicTypedPtr<U> other) : data(other.data), type(other.type) {}  // NOLINT: as DevicePtr

  explicit operator bool() const { return static_cast<bool>(data); }
};
using TypedPtr = BasicTypedPtr<void>;
using ConstTypedPtr = BasicTypedPtr<const void>;

struct NormShape {
  std::int64_t rows, width;
};

struct AttentionShape {
  std::int64_t batch, length, heads, head_size;
  std::int64_t width() const { return heads * head_size; }
};

struct EmbeddingShape {
  std::int64_t batch, length, vocabulary, width;
};

// Rows of `columns` logits of which the first `classes` mean something; the rest pads the vocabulary to a size that
// matrix units like.
struct LogitsShape {
  std::int64_t rows, classes, columns;
};

class TransformerOps {
 public:
  virtual ~TransformerOps() = default;

  // What models on this backend keep their activations in. Another type in any op but Cast is INVALID_ARGUMENT in the
  // stream.
  virtual DataType data_type() const = 0;

  // to[count] = from[count]: float32 to bfloat16 (to nearest, ties to even, NaN stays NaN), bfloat16 to float32, or a
  // copy. A backend with data_type() kF32 knows float32 alone.
  virtual void Cast(Stream& stream, std::size_t count, ConstTypedPtr from, TypedPtr to) = 0;

  // Token and position embedding. tokens[batch,length]; wte[vocabulary,width]; wpe[length,width];
  // y[batch,length,width]. y[b,t] = wte[tokens[b,t]] + wpe[t]. A token outside [0, vocabulary) is INVALID_ARGUMENT in
  // the stream.
  virtual void EmbeddingForward(Stream& stream, const EmbeddingShape& shape, DevicePtr<const std::int32_t> tokens,
                                DevicePtr<const float> wte, DevicePtr<const float> wpe, TypedPtr y) = 0;
  // dwte[v] += the sum of dy[b,t] over all places where tokens[b,t] == v: always added, because the output head, which
  // shares wte, has been there before. dwpe[t] (+)= the sum of dy[b,t] over b. Tokens were checked by the forward pass.
  virtual void EmbeddingBackward(Stream& stream, const EmbeddingShape& shape, DevicePtr<const std::int32_t> tokens,
                                 ConstTypedPtr dy, DevicePtr<float> dwte, DevicePtr<float> dwpe, Write write_dwpe) = 0;

  // Layer norm of each row, with epsilon 1e-5: y = (x - mean) * rstd * gain + bias, where rstd = 1 / sqrt(variance +
  // epsilon), the variance being the mean of the squares of x - mean. x, y [rows,width]; gain, bias [width];
  // mean, rstd [rows] are kept for the backward pass. y must not be x.
  virtual void LayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x, DevicePtr<const float> gain,
                                DevicePtr<const float> bias, TypedPtr y, DevicePtr<float> mean,
                                DevicePtr<float> rstd) = 0;
  // sum = x + branch, rounded to data_type(), then the layer norm of what was stored in sum: the end of a residual
  // branch and the beginning of the next, in one pass. sum may be x or branch.
  virtual void AddLayerNormForward(Stream& stream, const NormShape& shape, ConstTypedPtr x, ConstTypedPtr branch,
                                   TypedPtr sum, DevicePtr<const float> gain, DevicePtr<const float> bias, TypedPtr y,
                                   DevicePtr<float> mean, DevicePtr<float> rstd) = 0;
  // With n = (x - mean) * rstd and g = dy * gain: dx (+)= rstd * (g - mean over the row of g - n * mean over the row of
  // (g * n)); dgain (+)= the column sums of dy * n; dbias (+)= the column sums of dy. `x` is what was normalized (the
  // sum of AddLayerNormForward). `write_dx` kAdd: dx holds the gradient that came along the residual path.
  virtual void LayerNormBackward(Stream& stream, const NormShape& shape, ConstTypedPtr x, DevicePtr<const float> gain,
                                 DevicePtr<const float> mean, DevicePtr<const float> rstd, ConstTypedPtr dy,
                                 TypedPtr dx, Write write_dx, DevicePtr<float> dgain, DevicePtr<float> dbias,
                                 Write write) = 0;

  // y[batch,out] = x[batch,in] w[out,in]^T + bias[out]; `bias` may be null (the output head: logits = x wte^T).
  virtual void LinearForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w,
                             ConstTypedPtr bias, TypedPtr y) = 0;
  // pre[batch,out] = x w^T + bias, kept for the backward pass; y[batch,out] = gelu(pre), computed from the sums in
  // float32 or from what was stored in pre. gelu(v) = v / 2 * (1 + tanh(sqrt(2 / pi) * (v + 0.044715 v^3))), as GPT-2.
  // `bias` is not null.
  virtual void LinearGeluForward(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr w,
                                 ConstTypedPtr bias, TypedPtr pre, TypedPtr y) = 0;
  // dx[batch,in] = dy[batch,out] w[out,in].
  virtual void LinearBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy, ConstTypedPtr w,
                                  TypedPtr dx) = 0;
  // dpre[batch,in] = (dy[batch,out] w[out,in]) * gelu'(pre[batch,in]): through this layer and through the GELU before
  // it.
  virtual void LinearGeluBackwardData(Stream& stream, const LinearShape& shape, ConstTypedPtr dy, ConstTypedPtr w,
                                      ConstTypedPtr pre, TypedPtr dpre) = 0;
  // dw[out,in] (+)= dy[batch,out]^T x[batch,in]; dbias[out] (+)= the column sums of dy, unless dbias is null.
  virtual void LinearBackwardWeights(Stream& stream, const LinearShape& shape, ConstTypedPtr x, ConstTypedPtr dy,
                                     DevicePtr<float> dw, DevicePtr<float> dbias, Write write) = 0;

  // Causal self-attention, never with the whole score matrix in memory. qkv[batch,length,3,heads,head_size] holds
  // queries, keys and values; y[batch,length,heads,head_size]. With s[i,j] = q_i . k_j / sqrt(head_size) for j <= i,
  // per batch element and head: y_i = the sum over j <= i of exp(s[i,j] - lse_i) v_j, where lse[batch,heads,length] =
  // log of the sum over j <= i of exp(s[i,j]) is kept for the backward pass.
  virtual void AttentionForward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv, TypedPtr y,
                                DevicePtr<float> lse) = 0;
  // dqkv, in the layout of qkv, is overwritten. With p[i,j] = exp(s[i,j] - lse_i), D_i = dy_i . y_i and
  // ds[i,j] = p[i,j] * (dy_i . v_j - D_i) / sqrt(head_size): dq_i = the sum over j <= i of ds[i,j] k_j;
  // dk_j = the sum over i >= j of ds[i,j] q_i; dv_j = the sum over i >= j of p[i,j] dy_i.
  virtual void AttentionBackward(Stream& stream, const AttentionShape& shape, ConstTypedPtr qkv, ConstTypedPtr y,
                                 DevicePtr<const float> lse, ConstTypedPtr dy, TypedPtr dqkv) = 0;

  // As Ops::SoftmaxCrossEntropy, over large vocabularies. logits[rows,columns]; labels[rows], each in [0, classes),
  // else INVALID_ARGUMENT in the stream; *sum is overwritten. dlogits[rows,columns] = scale * (softmax over the first
  // `classes` columns - one hot), and 0 in the columns from `classes` on, whose logits are not read. dlogits may be
  // logits, and is not computed where it is null. A row with NaN or +Inf gives a NaN loss.
  virtual void SoftmaxCrossEntropy(Stream& stream, const LogitsShape& shape, ConstTypedPtr logits,
                                   DevicePtr<const std::int32_t> labels, float scale, TypedPtr dlogits,
                                   DevicePtr<LossSum> sum) = 0;
};

}  // namespace leeway
