#include "worker/models/plain_loop.h"

#include <utility>

#include "common/hash.h"
#include "common/status_macros.h"

namespace leeway {

absl::StatusOr<std::unique_ptr<PlainLoop>> PlainLoop::Make(Backend& backend, const ModelSpec& spec, int batch,
                                                           float rate, std::uint64_t seed) {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, MakeModel(spec));
  RETURN_IF_ERROR(model->Prepare(backend, batch));
  std::unique_ptr<PlainLoop> loop(new PlainLoop(backend, std::move(model), batch, rate, spec.tokens));
  RETURN_IF_ERROR(loop->Start(spec, seed));
  return loop;
}

absl::Status PlainLoop::Start(const ModelSpec& spec, std::uint64_t seed) {
  const Manifest& manifest = model_->manifest();
  const std::size_t samples = static_cast<std::size_t>(batch_);
  const std::size_t values = samples * static_cast<std::size_t>(spec.height * spec.width * spec.channels);
  static_assert(sizeof(float) == sizeof(std::int32_t), "features and tokens take the same memory");
  const std::size_t labels_per_batch = tokens_ ? values : samples;
  ASSIGN_OR_RETURN(stream_, backend_.NewStream());
  ASSIGN_OR_RETURN(weights_, backend_.Allocate(manifest.elements() * sizeof(float)));
  ASSIGN_OR_RETURN(gradients_, backend_.Allocate(manifest.elements() * sizeof(float)));
  ASSIGN_OR_RETURN(inputs_, backend_.Allocate(values * sizeof(float)));
  ASSIGN_OR_RETURN(labels_, backend_.Allocate(labels_per_batch * sizeof(std::int32_t)));
  ASSIGN_OR_RETURN(host_weights_, backend_.HostTwin(weights_));
  ASSIGN_OR_RETURN(host_inputs_, backend_.HostTwin(inputs_));
  ASSIGN_OR_RETURN(host_labels_, backend_.HostTwin(labels_));
  ASSIGN_OR_RETURN(result_, backend_.AllocateHost(sizeof(StepResult)));

  const auto any_class = [&](std::uint64_t i) {
    return static_cast<std::int32_t>(Mix64(seed + i) % static_cast<std::uint64_t>(spec.classes));
  };
  for (std::size_t i = 0; i < values; ++i) {
    if (tokens_) {
      tokens()[i] = any_class(values + i);
    } else {
      features()[i] = static_cast<float>(UnitUniform(HashCombine(seed, i)));
    }
  }
  for (std::size_t i = 0; i < labels_per_batch; ++i) labels()[i] = any_class(i);
  FillInitialValues(seed, manifest, 0, absl::MakeSpan(host_weights_.floats(), manifest.elements()));
  backend_.CopyToDevice(*stream_, weights_.floats(), host_weights_.address(), weights_.bytes());
  return stream_->Synchronize();
}

absl::StatusOr<StepResult> PlainLoop::Step() {
  backend_.CopyToDevice(*stream_, inputs_.floats(), host_inputs_.address(), inputs_.bytes());
  backend_.CopyToDevice(*stream_, labels_.as<std::int32_t>(), host_labels_.address(), labels_.bytes());
  const Batch batch{inputs_.floats(), labels_.as<std::int32_t>(), batch_, inputs_.as<std::int32_t>()};
  RETURN_IF_ERROR(
      model_->Step(*stream_, weights_.floats(), gradients_.floats(), batch, {}, {}, result_.as<StepResult>()));
  backend_.ops().Axpy(*stream_, model_->manifest().elements(), -rate_, gradients_.floats(), weights_.floats());
  RETURN_IF_ERROR(stream_->Synchronize());
  return *result_.as<StepResult>();
}

absl::Status PlainLoop::Weights(float* out) {
  backend_.CopyToHost(*stream_, out, weights_.floats(), weights_.bytes());
  return stream_->Synchronize();
}

}  // namespace leeway
