// Sequential: a model that is a chain of layers with softmax cross-entropy at its end.
//
//   Sequential::Builder builder("mlp:128", input);
//   builder.Add("fc1", MakeLinear(builder.shape(), 128, Activation::kRelu));
//   builder.Add("fc2", MakeLinear(builder.shape(), 10, Activation::kNone));
//   return builder.Build();
//
// Thread safety and ownership: as Model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/manifest.pb.h"
#include "worker/models/layer.h"
#include "worker/models/model.h"

namespace leeway {

class Sequential final : public Model {
 public:
  class Builder {
   public:
    Builder(const std::string& model, const Shape& input) : shape_(input) { manifest_.set_model(model); }
    // What the next layer gets as its input.
    const Shape& shape() const { return shape_; }
    // The layer's tensors are named "`name`.weight" and so on.
    void Add(const std::string& name, std::unique_ptr<Layer> layer);
    // The last layer's output are the logits. INVALID_ARGUMENT: see Manifest::FromProto.
    absl::StatusOr<std::unique_ptr<Model>> Build();

   private:
    Shape shape_;
    v1::Manifest manifest_;
    std::vector<std::unique_ptr<Layer>> layers_;
  };

  const Manifest& manifest() const override { return manifest_; }
  absl::Status Prepare(Backend& backend, int max_batch) override;
  absl::Status Step(Stream& stream, DevicePtr<const float> weights, DevicePtr<float> gradients, const Batch& batch,
                    const StepOptions& options, const GradientReady& gradient_ready, StepResult* result) override;
  absl::Status Evaluate(Stream& stream, DevicePtr<const float> weights, const Batch& batch,
                        StepResult* result) override;

 private:
  struct Stage {
    std::unique_ptr<Layer> layer;
    std::int64_t outputs;      // elements of a sample
    std::size_t first_tensor;  // its tensors are first_tensor, ..., first_tensor + weights.size() - 1
    DeviceMemory y;
    // Of the step in progress.
    std::vector<DevicePtr<const float>> weights;
    std::vector<DevicePtr<float>> gradients;
  };

  Sequential(Manifest manifest, std::vector<Stage> stages)
      : manifest_(std::move(manifest)), stages_(std::move(stages)) {}

  absl::Status Check(const Batch& batch) const;
  // Forward and Backward: false when the step was given up.
  bool Forward(Stream& stream, DevicePtr<const float> weights, const Batch& batch, const StepOptions& options);
  // `dlogits` may be null.
  void Loss(Stream& stream, const Batch& batch, float scale, DevicePtr<float> dlogits, StepResult* result);
  bool Backward(Stream& stream, DevicePtr<float> gradients, const Batch& batch, const StepOptions& options,
                const GradientReady& gradient_ready);

  const Manifest manifest_;
  std::vector<Stage> stages_;
  Backend* backend_ = nullptr;
  std::int64_t max_batch_ = 0;
  DeviceMemory dy_, dx_;  // the gradients of the activations, of the layer at work; they change places after it
  DeviceMemory loss_;
};

}  // namespace leeway
