// PlainLoop: training without a parameter server, one batch after the other in one thread: forward, backward,
// weights -= rate * gradients. It is the baseline that a cluster is measured against, on the same Model and Backend.
//
// Thread safety: none.
// Ownership: the Backend must outlive it.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/models/model.h"
#include "worker/models/registry.h"

namespace leeway {

class PlainLoop {
 public:
  // Weights are the initial values of `seed`; the batch is random until features() or tokens(), and labels(),
  // are written.
  // Errors as MakeModel, Model::Prepare and Backend.
  static absl::StatusOr<std::unique_ptr<PlainLoop>> Make(Backend& backend, const ModelSpec& spec, int batch, float rate,
                                                         std::uint64_t seed);

  const Model& model() const { return *model_; }
  // The batch that the next Step trains on: [batch, height, width, channels] and [batch], or, of tokens, [batch, width]
  // both.
  float* features() { return host_inputs_.floats(); }
  std::int32_t* tokens() { return host_inputs_.as<std::int32_t>(); }
  std::int32_t* labels() { return host_labels_.as<std::int32_t>(); }

  // One whole step; it is done when this returns. Errors as Stream::Synchronize.
  absl::StatusOr<StepResult> Step();
  // The weights, copied out: manifest().elements() floats.
  absl::Status Weights(float* out);

 private:
  PlainLoop(Backend& backend, std::unique_ptr<Model> model, int batch, float rate, bool tokens)
      : backend_(backend), model_(std::move(model)), batch_(batch), rate_(rate), tokens_(tokens) {}
  absl::Status Start(const ModelSpec& spec, std::uint64_t seed);

  Backend& backend_;
  const std::unique_ptr<Model> model_;
  const int batch_;
  const float rate_;
  const bool tokens_;
  std::unique_ptr<Stream> stream_;
  DeviceMemory weights_, gradients_, inputs_, labels_;
  HostMemory host_weights_, host_inputs_, host_labels_, result_;
};

}  // namespace leeway
