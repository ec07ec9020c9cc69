// Ops: the arithmetic of models, enqueued on a Stream (kernels/backend.h).
//
// All tensors are float32, dense, row by row. Images are [batch, height, width, channels]; convolution weights are
// [out, in, 3, 3] and linear weights [out, in], as in PyTorch. Sizes are positive. What an op reads must not overlap
// what it writes, except where its comment allows it.
//
// Results are the same bits in every run on the same machine with the same number of threads.
//
// Thread safety: an Ops may be used from several threads, each with a stream of its own; a Conv3x3 by one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace leeway {

// ReLU: max(x, 0), with NaN staying NaN.
enum class Activation { kNone, kRelu };

// Whether a gradient replaces what lies in its memory or is added to it.
enum class Write { kOverwrite, kAdd };

struct LinearShape {
  std::int64_t batch, in, out;
};

struct ImageShape {
  std::int64_t batch, height, width, channels;
  std::int64_t pixels() const { return batch * height * width; }
  std::int64_t elements() const { return pixels() * channels; }
};

// What SoftmaxCrossEntropy sums up, in device memory.
struct LossSum {
  double loss_sum;       // nats, summed over the batch
  std::int64_t correct;  // rows whose first largest logit is their label's
};

// A 3x3 convolution, stride 1, zero padding 1 (height and width stay), with bias. It is made once per layer, so
// that a backend chooses its algorithm and allocates its scratch memory then and not in a step.
// `batch` is at most the largest batch it was made for.
class Conv3x3 {
 public:
  virtual ~Conv3x3() = default;
  // y[b,i,j,o] = bias[o] + sum over c, u, v of w[o,c,u,v] x[b,i+u-1,j+v-1,c].
  virtual void Forward(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> w,
                       DevicePtr<const float> bias, DevicePtr<float> y) = 0;
  virtual void BackwardData(Stream& stream, std::int64_t batch, DevicePtr<const float> dy, DevicePtr<const float> w,
                            DevicePtr<float> dx) = 0;
  virtual void BackwardWeights(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> dy,
                               DevicePtr<float> dw, DevicePtr<float> dbias, Write write) = 0;
};

class Ops {
 public:
  virtual ~Ops() = default;

  // y[batch,out] = activation(x[batch,in] w[out,in]^T + bias[out]).
  virtual void LinearForward(Stream& stream, const LinearShape& shape, DevicePtr<const float> x,
                             DevicePtr<const float> w, DevicePtr<const float> bias, DevicePtr<float> y,
                             Activation activation) = 0;
  // dx[batch,in] = dy[batch,out] w[out,in].
  virtual void LinearBackwardData(Stream& stream, const LinearShape& shape, DevicePtr<const float> dy,
                                  DevicePtr<const float> w, DevicePtr<float> dx) = 0;
  // dw[out,in] = dy^T x; dbias[out] = the column sums of dy.
  virtual void LinearBackwardWeights(Stream& stream, const LinearShape& shape, DevicePtr<const float> x,
                                     DevicePtr<const float> dy, DevicePtr<float> dw, DevicePtr<float> dbias,
                                     Write write) = 0;

  // `shape` is that of x; the largest batch is shape.batch. RESOURCE_EXHAUSTED, INTERNAL: see Backend.
  virtual absl::StatusOr<std::unique_ptr<Conv3x3>> NewConv3x3(const ImageShape& shape, std::int64_t out_channels) = 0;

  // y = max(x, 0), NaN stays NaN; y may be x.
  virtual void ReluForward(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<float> y) = 0;
  // dx = dy where y > 0, else 0, with y the output of the ReLU; dx may be dy.
  virtual void ReluBackward(Stream& stream, std::size_t count, DevicePtr<const float> y, DevicePtr<const float> dy,
                            DevicePtr<float> dx) = 0;

  // y = activation(the largest of each 2x2 window of x), stride 2; an odd last row or column is left out (as
  // PyTorch). `shape` is that of x; y and `choice` have [batch, height / 2, width / 2, channels] elements.
  // `choice` is for the backward pass: which of the window's four (row by row) was the largest, the first of
  // equals (a NaN counts as the largest); 4 where the gradient is 0 because the activation cut it off.
  virtual void MaxPoolForward(Stream& stream, const ImageShape& shape, DevicePtr<const float> x, DevicePtr<float> y,
                              DevicePtr<std::int32_t> choice, Activation activation) = 0;
  // dx gets dy at the chosen places and 0 elsewhere.
  virtual void MaxPoolBackward(Stream& stream, const ImageShape& shape, DevicePtr<const float> dy,
                               DevicePtr<const std::int32_t> choice, DevicePtr<float> dx) = 0;

  // Cross-entropy of softmax(logits[batch,classes]) against labels[batch]; *sum is overwritten.
  // dlogits = scale * (softmax - one hot); it may be logits, and is not computed where it is null.
  // A label outside [0, classes) is INVALID_ARGUMENT in the stream. A row with NaN or +Inf gives a NaN loss.
  virtual void SoftmaxCrossEntropy(Stream& stream, std::int64_t batch, std::int64_t classes,
                                   DevicePtr<const float> logits, DevicePtr<const std::int32_t> labels, float scale,
                                   DevicePtr<float> dlogits, DevicePtr<LossSum> sum) = 0;

  virtual void Fill(Stream& stream, std::size_t count, float value, DevicePtr<float> x) = 0;
  // x *= factor.
  virtual void Scale(Stream& stream, std::size_t count, float factor, DevicePtr<float> x) = 0;
  // y += a x.
  virtual void Axpy(Stream& stream, std::size_t count, float a, DevicePtr<const float> x, DevicePtr<float> y) = 0;
  // *result = the sum of squares, accumulated in double.
  virtual void SquaredNorm(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<double> result) = 0;
  // *result = the index of the first NaN or Inf, or -1 if there is none.
  virtual void FindNonFinite(Stream& stream, std::size_t count, DevicePtr<const float> x,
                             DevicePtr<std::int64_t> result) = 0;
};

}  // namespace leeway
