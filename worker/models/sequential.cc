#include "worker/models/sequential.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

// Keeps the byte counts below far from overflow.
constexpr int kMaxBatch = 1 << 20;

}  // namespace

void Sequential::Builder::Add(const std::string& name, std::unique_ptr<Layer> layer) {
  for (v1::TensorSpec& spec : layer->tensors()) {
    spec.set_name(absl::StrCat(name, ".", spec.name()));
    *manifest_.add_tensors() = std::move(spec);
  }
  shape_ = layer->output();
  layers_.push_back(std::move(layer));
}

absl::StatusOr<std::unique_ptr<Model>> Sequential::Builder::Build() {
  ASSIGN_OR_RETURN(Manifest manifest, Manifest::FromProto(manifest_));
  std::vector<Stage> stages;
  std::size_t tensor = 0;
  for (std::unique_ptr<Layer>& layer : layers_) {
    const std::size_t tensors = layer->tensors().size();
    const std::int64_t outputs = layer->output().elements();
    stages.push_back(Stage{std::move(layer), outputs, tensor, {}, {}, {}});
    stages.back().weights.resize(tensors);
    stages.back().gradients.resize(tensors);
    tensor += tensors;
  }
  return std::unique_ptr<Model>(new Sequential(std::move(manifest), std::move(stages)));
}

absl::Status Sequential::Prepare(Backend& backend, int max_batch) {
  if (max_batch < 1 || max_batch > kMaxBatch) {
    return absl::InvalidArgumentError(absl::StrCat("model: batch size ", max_batch, "; allowed are 1 to ", kMaxBatch));
  }
  const auto bytes = [max_batch](std::int64_t elements) {
    return static_cast<std::size_t>(max_batch) * static_cast<std::size_t>(elements) * sizeof(float);
  };
  std::int64_t widest = 0;
  for (Stage& stage : stages_) {
    RETURN_IF_ERROR(stage.layer->Prepare(backend, max_batch));
    ASSIGN_OR_RETURN(stage.y, backend.Allocate(bytes(stage.outputs)));
    widest = std::max(widest, stage.outputs);
  }
  ASSIGN_OR_RETURN(dy_, backend.Allocate(bytes(widest)));
  ASSIGN_OR_RETURN(dx_, backend.Allocate(bytes(widest)));
  ASSIGN_OR_RETURN(loss_, backend.Allocate(sizeof(LossSum)));
  backend_ = &backend;
  max_batch_ = max_batch;
  return absl::OkStatus();
}

absl::Status Sequential::Step(Stream& stream, DevicePtr<const float> weights, DevicePtr<float> gradients,
                              const Batch& batch, const StepOptions& options, const GradientReady& gradient_ready,
                              StepResult* result) {
  RETURN_IF_ERROR(Check(batch));
  if (!Forward(stream, weights, batch, options)) return absl::CancelledError("model: the step was given up");
  Loss(stream, batch, options.scale / static_cast<float>(batch.size), dy_.floats(), result);
  if (!Backward(stream, gradients, batch, options, gradient_ready)) {
    return absl::CancelledError("model: the step was given up");
  }
  return absl::OkStatus();
}

absl::Status Sequential::Evaluate(Stream& stream, DevicePtr<const float> weights, const Batch& batch,
                                  StepResult* result) {
  RETURN_IF_ERROR(Check(batch));
  Forward(stream, weights, batch, {});
  Loss(stream, batch, 0.0f, {}, result);
  return absl::OkStatus();
}

absl::Status Sequential::Check(const Batch& batch) const {
  if (backend_ == nullptr) return absl::FailedPreconditionError("model: a step before Prepare");
  if (batch.size >= 1 && batch.size <= max_batch_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model: a batch of ", batch.size, " samples; it was prepared for 1 to ", max_batch_));
}

bool Sequential::Forward(Stream& stream, DevicePtr<const float> weights, const Batch& batch,
                         const StepOptions& options) {
  DevicePtr<const float> x = batch.features;
  for (Stage& stage : stages_) {
    if (options.GivenUp()) return false;
    for (std::size_t i = 0; i < stage.weights.size(); ++i) {
      stage.weights[i] = weights + manifest_.tensors()[stage.first_tensor + i].offset;
    }
    stage.layer->Forward({stream, batch.size, stage.weights, x, stage.y.floats()});
    x = stage.y.floats();
  }
  return true;
}

void Sequential::Loss(Stream& stream, const Batch& batch, float scale, DevicePtr<float> dlogits, StepResult* result) {
  const Stage& last = stages_.back();
  backend_->ops().SoftmaxCrossEntropy(stream, batch.size, last.outputs, last.y.floats(), batch.labels, scale, dlogits,
                                      loss_.as<LossSum>());
  backend_->CopyToHost(stream, result, loss_.as<LossSum>(), sizeof(LossSum));
}

bool Sequential::Backward(Stream& stream, DevicePtr<float> gradients, const Batch& batch, const StepOptions& options,
                          const GradientReady& gradient_ready) {
  const Write write = options.accumulate ? Write::kAdd : Write::kOverwrite;
  for (std::size_t s = stages_.size(); s-- > 0;) {
    if (options.GivenUp()) return false;
    Stage& stage = stages_[s];
    const bool first = s == 0;
    for (std::size_t i = 0; i < stage.gradients.size(); ++i) {
      stage.gradients[i] = gradients + manifest_.tensors()[stage.first_tensor + i].offset;
    }
    const std::function<void()> ready = [&] {
      if (!gradient_ready) return;
      for (std::size_t i = stage.gradients.size(); i-- > 0;) gradient_ready(stage.first_tensor + i);
    };
    stage.layer->Backward({stream, batch.size, stage.weights, stage.gradients, write,
                           first ? batch.features : stages_[s - 1].y.floats(), stage.y.floats(), dy_.floats(),
                           first ? DevicePtr<float>() : dx_.floats(), ready});
    std::swap(dy_, dx_);
  }
  return true;
}

}  // namespace leeway
