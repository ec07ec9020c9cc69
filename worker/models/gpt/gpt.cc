#include "worker/models/gpt/gpt.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/manifest.h"
#include "common/status_macros.h"
#include "kernels/transformer_ops.h"
#include "worker/models/gpt/gpt_activations.h"
#include "worker/models/gpt/gpt_tensors.h"

namespace leeway {
namespace {

using T = GptTensors;

constexpr int kMaxBatch = 1 << 20;  // keeps the byte counts below far from overflow

class Gpt final : public Model {
 public:
  Gpt(const GptConfig& config, Manifest manifest) : config_(config), manifest_(std::move(manifest)) {}

  const Manifest& manifest() const override { return manifest_; }
  absl::Status Prepare(Backend& backend, int max_batch) override;
  absl::Status Step(Stream& stream, DevicePtr<const float> weights, DevicePtr<float> gradients, const Batch& batch,
                    const StepOptions& options, const GradientReady& gradient_ready, StepResult* result) override;
  absl::Status Evaluate(Stream& stream, DevicePtr<const float> weights, const Batch& batch,
                        StepResult* result) override;

 private:
  // What a pass over one batch works on.
  struct Pass {
    Stream& stream;
    const Batch& batch;
    DevicePtr<const float> weights;
    DevicePtr<float> gradients;
    const StepOptions& options;
    const GradientReady& ready;
    Write write() const { return options.accumulate ? Write::kAdd : Write::kOverwrite; }
  };

  absl::Status Check(const Batch& batch) const;
  // Forward and Backward: false when the step was given up.
  bool Forward(const Pass& pass);
  // `dlogits` may be null.
  void Loss(const Pass& pass, float scale, TypedPtr dlogits, StepResult* result);
  bool Backward(const Pass& pass);
  void ForwardLayer(const Pass& pass, std::size_t layer);
  void BackwardLayer(const Pass& pass, std::size_t layer);

  std::int64_t Rows(const Pass& pass) const { return pass.batch.size * config_.context; }
  AttentionShape Attention(const Pass& pass) const {
    return {pass.batch.size, config_.context, config_.heads, config_.head_size()};
  }
  DevicePtr<const float> Weight(const Pass& pass, std::size_t tensor) const {
    return pass.weights + manifest_.tensors()[tensor].offset;
  }
  // Of the type that products want.
  ConstTypedPtr Typed(const Pass& pass, std::size_t tensor) const {
    const std::size_t offset = manifest_.tensors()[tensor].offset;
    if (type_ == DataType::kF32) return {DevicePtr<const void>(pass.weights + offset), type_};
    return {DevicePtr<const void>(cast_weights_.as<const char>() + offset * SizeOf(type_)), type_};
  }
  DevicePtr<float> Gradient(const Pass& pass, std::size_t tensor) const {
    return pass.gradients + manifest_.tensors()[tensor].offset;
  }
  void Ready(const Pass& pass, std::size_t tensor) const {
    if (pass.ready) pass.ready(tensor);
  }
  // The gradients of a layer norm or a linear layer, whose second tensor is its bias.
  void WeightGradients(const Pass& pass, const LinearShape& shape, std::size_t tensor, TypedPtr x, TypedPtr dy) const {
    ops_->LinearBackwardWeights(pass.stream, shape, x, dy, Gradient(pass, tensor), Gradient(pass, tensor + 1),
                                pass.write());
    Ready(pass, tensor + 1);
    Ready(pass, tensor);
  }
  void NormGradients(const Pass& pass, std::size_t tensor, TypedPtr x, DevicePtr<float> mean, DevicePtr<float> rstd,
                     TypedPtr dy, TypedPtr dx, Write write_dx) const {
    ops_->LayerNormBackward(pass.stream, {Rows(pass), config_.width}, x, Weight(pass, tensor), mean, rstd, dy, dx,
                            write_dx, Gradient(pass, tensor), Gradient(pass, tensor + 1), pass.write());
    Ready(pass, tensor + 1);
    Ready(pass, tensor);
  }

  const GptConfig config_;
  const Manifest manifest_;
  Backend* backend_ = nullptr;
  TransformerOps* ops_ = nullptr;
  std::int64_t max_batch_ = 0;
  DataType type_ = DataType::kF32;
  DeviceMemory cast_weights_;  // empty where products take float32
  DeviceMemory memory_;        // of the activations
  GptActivations at_;
  DeviceMemory loss_;
};

absl::Status Gpt::Prepare(Backend& backend, int max_batch) {
  if (max_batch < 1 || max_batch > kMaxBatch) {
    return absl::InvalidArgumentError(absl::StrCat("model: batch size ", max_batch, "; allowed are 1 to ", kMaxBatch));
  }
  ops_ = &backend.transformer_ops();
  type_ = ops_->data_type();
  std::size_t bytes = 0;
  LayOutGpt(config_, max_batch, type_, {}, &bytes);
  ASSIGN_OR_RETURN(memory_, backend.Allocate(bytes));
  at_ = LayOutGpt(config_, max_batch, type_, memory_.as<char>(), &bytes);
  if (type_ != DataType::kF32) {
    ASSIGN_OR_RETURN(cast_weights_, backend.Allocate(manifest_.elements() * SizeOf(type_)));
  }
  ASSIGN_OR_RETURN(loss_, backend.Allocate(sizeof(LossSum)));
  backend_ = &backend;
  max_batch_ = max_batch;
  return absl::OkStatus();
}

absl::Status Gpt::Check(const Batch& batch) const {
  if (backend_ == nullptr) return absl::FailedPreconditionError("model: a step before Prepare");
  if (batch.size >= 1 && batch.size <= max_batch_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model: a batch of ", batch.size, " samples; it was prepared for 1 to ", max_batch_));
}

absl::Status Gpt::Step(Stream& stream, DevicePtr<const float> weights, DevicePtr<float> gradients, const Batch& batch,
                       const StepOptions& options, const GradientReady& gradient_ready, StepResult* result) {
  RETURN_IF_ERROR(Check(batch));
  const Pass pass{stream, batch, weights, gradients, options, gradient_ready};
  if (!Forward(pass)) return absl::CancelledError("model: the step was given up");
  Loss(pass, options.scale / static_cast<float>(Rows(pass)), at_.logits, result);
  return Backward(pass) ? absl::OkStatus() : absl::CancelledError("model: the step was given up");
}

absl::Status Gpt::Evaluate(Stream& stream, DevicePtr<const float> weights, const Batch& batch, StepResult* result) {
  RETURN_IF_ERROR(Check(batch));
  const GradientReady nobody;
  const StepOptions options;
  const Pass pass{stream, batch, weights, {}, options, nobody};
  Forward(pass);
  Loss(pass, 0.0f, {}, result);
  return absl::OkStatus();
}

bool Gpt::Forward(const Pass& pass) {
  const std::int64_t rows = Rows(pass), width = config_.width;
  if (type_ != DataType::kF32) {
    ops_->Cast(pass.stream, manifest_.elements(), {DevicePtr<const void>(pass.weights), DataType::kF32},
               {cast_weights_.as<void>(), type_});
  }
  ops_->EmbeddingForward(pass.stream, {pass.batch.size, config_.context, config_.vocabulary, width}, pass.batch.tokens,
                         Weight(pass, T::kTokens), Weight(pass, T::kPositions), at_.layers[0].stream);
  const std::size_t first = T::Layer(0, T::kNorm1Gain);
  ops_->LayerNormForward(pass.stream, {rows, width}, at_.layers[0].stream, Weight(pass, first), Weight(pass, first + 1),
                         at_.layers[0].normal1, at_.layers[0].mean1, at_.layers[0].rstd1);
  for (std::size_t layer = 0; layer < at_.layers.size(); ++layer) {
    if (pass.options.GivenUp()) return false;
    ForwardLayer(pass, layer);
  }
  if (pass.options.GivenUp()) return false;
  ops_->LinearForward(pass.stream, {rows, width, config_.padded_vocabulary()}, at_.normal, Typed(pass, T::kTokens), {},
                      at_.logits);
  return true;
}

// From the layer's first normalized input to the next one's, or the output head's.
void Gpt::ForwardLayer(const Pass& pass, std::size_t layer) {
  const std::int64_t rows = Rows(pass), width = config_.width;
  const NormShape norm{rows, width};
  const auto tensor = [layer](T::InLayer which) { return T::Layer(layer, which); };
  GptLayerActivations& at = at_.layers[layer];

  ops_->LinearForward(pass.stream, {rows, width, 3 * width}, at.normal1, Typed(pass, tensor(T::kQkvWeight)),
                      Typed(pass, tensor(T::kQkvBias)), at.qkv);
  ops_->AttentionForward(pass.stream, Attention(pass), at.qkv, at.attended, at.lse);
  ops_->LinearForward(pass.stream, {rows, width, width}, at.attended, Typed(pass, tensor(T::kAttentionWeight)),
                      Typed(pass, tensor(T::kAttentionBias)), at_.branch);
  ops_->AddLayerNormForward(pass.stream, norm, at.stream, at_.branch, at.middle, Weight(pass, tensor(T::kNorm2Gain)),
                            Weight(pass, tensor(T::kNorm2Bias)), at.normal2, at.mean2, at.rstd2);
  ops_->LinearGeluForward(pass.stream, {rows, width, 4 * width}, at.normal2, Typed(pass, tensor(T::kUpWeight)),
                          Typed(pass, tensor(T::kUpBias)), at.pre, at.up);
  ops_->LinearForward(pass.stream, {rows, 4 * width, width}, at.up, Typed(pass, tensor(T::kDownWeight)),
                      Typed(pass, tensor(T::kDownBias)), at_.branch);
  const bool last = layer + 1 == at_.layers.size();
  const std::size_t gain = last ? T::FinalGain(config_) : T::Layer(layer + 1, T::kNorm1Gain);
  if (last) {
    ops_->AddLayerNormForward(pass.stream, norm, at.middle, at_.branch, at_.stream, Weight(pass, gain),
                              Weight(pass, gain + 1), at_.normal, at_.mean, at_.rstd);
  } else {
    GptLayerActivations& next = at_.layers[layer + 1];
    ops_->AddLayerNormForward(pass.stream, norm, at.middle, at_.branch, next.stream, Weight(pass, gain),
                              Weight(pass, gain + 1), next.normal1, next.mean1, next.rstd1);
  }
}

void Gpt::Loss(const Pass& pass, float scale, TypedPtr dlogits, StepResult* result) {
  ops_->SoftmaxCrossEntropy(pass.stream, {Rows(pass), config_.vocabulary, config_.padded_vocabulary()}, at_.logits,
                            pass.batch.labels, scale, dlogits, loss_.as<LossSum>());
  backend_->CopyToHost(pass.stream, result, loss_.as<LossSum>(), sizeof(LossSum));
}

bool Gpt::Backward(const Pass& pass) {
  if (pass.options.GivenUp()) return false;
  const std::int64_t width = config_.width;
  const LinearShape head{Rows(pass), width, config_.padded_vocabulary()};
  ops_->LinearBackwardData(pass.stream, head, at_.logits, Typed(pass, T::kTokens), at_.d_narrow);
  ops_->LinearBackwardWeights(pass.stream, head, at_.normal, at_.logits, Gradient(pass, T::kTokens), {}, pass.write());
  NormGradients(pass, T::FinalGain(config_), at_.stream, at_.mean, at_.rstd, at_.d_narrow, at_.d_stream,
                Write::kOverwrite);
  for (std::size_t layer = at_.layers.size(); layer-- > 0;) {
    if (pass.options.GivenUp()) return false;
    BackwardLayer(pass, layer);
  }
  ops_->EmbeddingBackward(pass.stream, {pass.batch.size, config_.context, config_.vocabulary, width}, pass.batch.tokens,
                          at_.d_stream, Gradient(pass, T::kTokens), Gradient(pass, T::kPositions), pass.write());
  Ready(pass, T::kPositions);
  Ready(pass, T::kTokens);
  return true;
}

// d_stream holds the gradient of the residual stream: behind the layer before, before it after.
void Gpt::BackwardLayer(const Pass& pass, std::size_t layer) {
  const std::int64_t rows = Rows(pass), width = config_.width;
  const auto tensor = [layer](T::InLayer which) { return T::Layer(layer, which); };
  const LinearShape down{rows, 4 * width, width}, up{rows, width, 4 * width};
  const LinearShape out{rows, width, width}, qkv{rows, width, 3 * width};
  GptLayerActivations& at = at_.layers[layer];
  const TypedPtr d_qkv = at_.d_wide;  // the gradient of `pre` is used up by then

  WeightGradients(pass, down, tensor(T::kDownWeight), at.up, at_.d_stream);
  ops_->LinearGeluBackwardData(pass.stream, down, at_.d_stream, Typed(pass, tensor(T::kDownWeight)), at.pre,
                               at_.d_wide);
  WeightGradients(pass, up, tensor(T::kUpWeight), at.normal2, at_.d_wide);
  ops_->LinearBackwardData(pass.stream, up, at_.d_wide, Typed(pass, tensor(T::kUpWeight)), at_.d_narrow);
  NormGradients(pass, tensor(T::kNorm2Gain), at.middle, at.mean2, at.rstd2, at_.d_narrow, at_.d_stream, Write::kAdd);

  WeightGradients(pass, out, tensor(T::kAttentionWeight), at.attended, at_.d_stream);
  ops_->LinearBackwardData(pass.stream, out, at_.d_stream, Typed(pass, tensor(T::kAttentionWeight)), at_.d_narrow);
  ops_->AttentionBackward(pass.stream, Attention(pass), at.qkv, at.attended, at.lse, at_.d_narrow, d_qkv);
  WeightGradients(pass, qkv, tensor(T::kQkvWeight), at.normal1, d_qkv);
  ops_->LinearBackwardData(pass.stream, qkv, d_qkv, Typed(pass, tensor(T::kQkvWeight)), at_.d_narrow);
  NormGradients(pass, tensor(T::kNorm1Gain), at.stream, at.mean1, at.rstd1, at_.d_narrow, at_.d_stream, Write::kAdd);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeGpt(const std::string& name, const GptConfig& config) {
  ASSIGN_OR_RETURN(Manifest manifest, Manifest::FromProto(GptManifest(name, config)));
  return std::make_unique<Gpt>(config, std::move(manifest));
}

}  // namespace leeway
