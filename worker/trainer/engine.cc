#include "worker/trainer/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/ops.h"
#include "kernels/vector_ops.h"

namespace leeway {
namespace {

// Bytes per element on the host.
std::size_t GradientWidth(Engine::Gradients gradients) {
  if (gradients == Engine::Gradients::kEncoded) return 0;  // a DeviceEncoder's
  return gradients == Engine::Gradients::kHalves ? sizeof(std::uint16_t) : sizeof(float);
}

}  // namespace

Engine::Engine(Backend& backend, Model& model, const Options& options)
    : backend_(backend),
      model_(model),
      options_(options),
      elements_(model.manifest().elements()),
      sender_(MakeThreadPool(1)) {}

Engine::~Engine() {
  sender_.reset();
  // What is under way (weights of a pull that was dropped) uses memory that goes now.
  MutexLock lock(upload_mu_);
  for (Stream* const stream : {compute_.get(), copy_.get(), upload_.get()}) {
    if (stream != nullptr) stream->Synchronize().IgnoreError();
  }
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Make(Backend& backend, Model& model, const Options& options) {
  const absl::Status prepared = model.Prepare(backend, options.batch);
  if (absl::IsResourceExhausted(prepared)) {
    return absl::ResourceExhaustedError(absl::StrCat("the activations of --batch=", options.batch, ": ",
                                                     prepared.message(),
                                                     "; take a smaller --batch, or a smaller model"));
  }
  RETURN_IF_ERROR(prepared);
  std::unique_ptr<Engine> engine(new Engine(backend, model, options));
  RETURN_IF_ERROR(engine->Allocate());
  return engine;
}

std::uint64_t Engine::EstimateBytes(std::uint64_t elements, const Options& options) {
  const std::size_t weight = options.half_weights ? sizeof(std::uint16_t) : sizeof(float);
  return elements * weight * static_cast<std::uint64_t>(options.weights_slots) +
         elements * GradientWidth(options.gradients) * static_cast<std::uint64_t>(options.gradient_slots) +
         static_cast<std::uint64_t>(options.batch) *
             (options.features * sizeof(float) + options.labels * sizeof(std::int32_t));
}

absl::Status Engine::Allocate() {
  const std::size_t bytes = elements_ * sizeof(float);
  ASSIGN_OR_RETURN(compute_, backend_.NewStream());
  ASSIGN_OR_RETURN(copy_, backend_.NewStream());
  const std::size_t half_bytes = elements_ * sizeof(std::uint16_t);
  ASSIGN_OR_RETURN(half_weights_, backend_.Allocate(options_.half_weights ? half_bytes : 0));
  const bool floats = options_.gradients == Gradients::kFloats;
  const std::size_t host_gradient = elements_ * GradientWidth(options_.gradients);
  ASSIGN_OR_RETURN(half_gradient_, backend_.Allocate(floats ? 0 : host_gradient));
  {
    MutexLock lock(upload_mu_);
    ASSIGN_OR_RETURN(upload_, backend_.NewStream());
    for (int i = 0; i < options_.weights_slots; ++i) {
      Weights& slot = weights_.emplace_back();
      ASSIGN_OR_RETURN(slot.device, backend_.Allocate(bytes));
      ASSIGN_OR_RETURN(slot.uploaded, backend_.NewEvent());
      ASSIGN_OR_RETURN(HostMemory host,
                       options_.half_weights ? backend_.AllocateHost(half_bytes) : backend_.HostTwin(slot.device));
      host_weights_.push_back(std::move(host));
    }
  }
  for (int i = 0; i < options_.gradient_slots; ++i) {
    Gradient& slot = gradients_.emplace_back();
    ASSIGN_OR_RETURN(slot.device, backend_.Allocate(bytes));
    ASSIGN_OR_RETURN(slot.host, floats ? backend_.HostTwin(slot.device) : backend_.AllocateHost(host_gradient));
    for (std::size_t tensor = 0; tensor < model_.manifest().tensors().size(); ++tensor) {
      ASSIGN_OR_RETURN(auto computed, backend_.NewEvent());
      ASSIGN_OR_RETURN(auto copied, backend_.NewEvent());
      slot.computed.push_back(std::move(computed));
      slot.copied.push_back(std::move(copied));
    }
  }
  const auto batch = static_cast<std::size_t>(options_.batch);
  static_assert(sizeof(float) == sizeof(std::int32_t), "features and tokens take the same memory");
  ASSIGN_OR_RETURN(inputs_, backend_.Allocate(batch * options_.features * sizeof(float)));
  ASSIGN_OR_RETURN(host_inputs_, backend_.HostTwin(inputs_));
  ASSIGN_OR_RETURN(labels_, backend_.Allocate(batch * options_.labels * sizeof(std::int32_t)));
  ASSIGN_OR_RETURN(host_labels_, backend_.HostTwin(labels_));
  ASSIGN_OR_RETURN(result_, backend_.AllocateHost(sizeof(StepResult)));
  ASSIGN_OR_RETURN(scalar_, backend_.Allocate(sizeof(double)));
  ASSIGN_OR_RETURN(host_scalar_, backend_.HostTwin(scalar_));
  return absl::OkStatus();
}

// The stream must be idle: the host side of the inputs is overwritten.
absl::Duration Engine::LoadInputs(const Dataset& data, absl::Span<const std::uint64_t> records) {
  const auto start = std::chrono::steady_clock::now();
  if (data.has_tokens()) {
    data.Gather(records, host_inputs_.as<std::int32_t>(), host_labels_.as<std::int32_t>());
  } else {
    data.Gather(records, host_inputs_.floats(), host_labels_.as<std::int32_t>());
  }
  backend_.CopyToDevice(*compute_, inputs_.floats(), host_inputs_.floats(),
                        records.size() * options_.features * sizeof(float));
  backend_.CopyToDevice(*compute_, labels_.as<std::int32_t>(), host_labels_.as<std::int32_t>(),
                        records.size() * options_.labels * sizeof(std::int32_t));
  return absl::FromChrono(std::chrono::steady_clock::now() - start);
}

Batch Engine::InputBatch(std::size_t size) const {
  return {inputs_.floats(), labels_.as<std::int32_t>(), static_cast<std::int64_t>(size), inputs_.as<std::int32_t>()};
}

// The stream must be idle.
void Engine::AddResult(StepOutcome* outcome) const {
  const StepResult& result = *result_.as<StepResult>();
  outcome->loss_sum += result.loss_sum / static_cast<double>(options_.labels);
  outcome->correct += static_cast<double>(result.correct) / static_cast<double>(options_.labels);
}

absl::StatusOr<bool> Engine::ConvertsOnDevice(Backend& backend) {
  ASSIGN_OR_RETURN(const DeviceMemory memory, backend.Allocate(1));
  ASSIGN_OR_RETURN(const HostMemory twin, backend.HostTwin(memory));
  return twin.address() != memory.address();
}

void Engine::WeightsArrived(int slot) {
  MutexLock lock(upload_mu_);
  Upload(slot);
  weights_[static_cast<std::size_t>(slot)].arrived = true;
}

void Engine::Upload(int slot) {
  Weights& weights = weights_[static_cast<std::size_t>(slot)];
  if (options_.half_weights) {
    backend_.CopyToDevice(*upload_, half_weights_.as<void>(), half_weights(slot), elements_ * sizeof(std::uint16_t));
    backend_.vector_ops().DecodeBf16(*upload_, elements_, half_weights_.as<std::uint16_t>(), weights.device.floats());
  } else {
    backend_.CopyToDevice(*upload_, weights.device.floats(), this->weights(slot), elements_ * sizeof(float));
  }
  upload_->Record(*weights.uploaded);
}

// For what is enqueued on the compute stream from now on.
DevicePtr<const float> Engine::UseWeights(int slot) {
  MutexLock lock(upload_mu_);
  Weights& weights = weights_[static_cast<std::size_t>(slot)];
  if (!std::exchange(weights.arrived, false)) Upload(slot);
  compute_->WaitFor(*weights.uploaded);
  return weights.device.floats();
}

// Enqueues the way to the host, on the copy stream.
void Engine::Download(Gradient& gradient, std::uint64_t first, std::uint64_t count) {
  if (options_.gradients == Gradients::kHalves) {
    const DevicePtr<std::uint16_t> halves = half_gradient_.as<std::uint16_t>() + first;
    backend_.vector_ops().EncodeBf16(*copy_, count, gradient.device.floats() + first, /*residual=*/false, halves);
    backend_.CopyToHost(*copy_, gradient.host.as<std::uint16_t>() + first, halves, count * sizeof(std::uint16_t));
  } else {
    backend_.CopyToHost(*copy_, gradient.host.floats() + first, gradient.device.floats() + first,
                        count * sizeof(float));
  }
}

// Enqueues the way of final elements to the host on a stream of its own, so that backward goes on meanwhile. The events
// are those of `tensor`.
void Engine::Send(Gradient& gradient, std::size_t tensor, std::uint64_t first, std::uint64_t count,
                  const StepRequest& request) {
  Event& computed = *gradient.computed[tensor];
  compute_->Record(computed);
  if (options_.gradients == Gradients::kEncoded) {
    DeviceEncoder& encoder = *request.encoder;
    const int slot = request.gradient_slot;
    for (const ChunkId chunk : encoder.MarkFinal(slot, gradient.device.floats(), first, count, computed)) {
      sender_->Post([&encoder, slot, chunk, on_encoded = request.on_encoded, on_failed = request.on_failed] {
        const absl::Status status = encoder.Wait(slot, chunk);
        if (!status.ok()) return on_failed(status);
        on_encoded(chunk);
      });
    }
    return;
  }
  Event& copied = *gradient.copied[tensor];
  copy_->WaitFor(computed);
  Download(gradient, first, count);
  copy_->Record(copied);
  sender_->Post([&copied, on_final = request.on_final, on_failed = request.on_failed, first, count] {
    const absl::Status status = copied.Synchronize();
    if (!status.ok()) return on_failed(status);
    on_final(first, count);
  });
}

absl::Status Engine::FinishWhole(Gradient& gradient, const StepRequest& request) {
  Ops& ops = backend_.ops();
  double* const squared_norm = host_scalar_.as<double>();
  ops.SquaredNorm(*compute_, elements_, gradient.device.floats(), scalar_.as<double>());
  backend_.CopyToHost(*compute_, squared_norm, scalar_.as<double>(), sizeof(double));
  RETURN_IF_ERROR(compute_->Synchronize());
  // Squares of floats and their sum fit a double, so that it is finite when, and only when, every element is.
  if (!std::isfinite(*squared_norm)) {
    std::int64_t* const index = host_scalar_.as<std::int64_t>();
    ops.FindNonFinite(*compute_, elements_, gradient.device.floats(), scalar_.as<std::int64_t>());
    backend_.CopyToHost(*compute_, index, scalar_.as<std::int64_t>(), sizeof(std::int64_t));
    RETURN_IF_ERROR(compute_->Synchronize());
    const auto element = static_cast<std::uint64_t>(std::max<std::int64_t>(*index, 0));
    const Tensor& tensor = model_.manifest().tensors()[model_.manifest().TensorAt(element)];
    request.on_refused(
        absl::StrCat("non-finite gradient: tensor ", tensor.name, ", element ", element - tensor.offset));
    return absl::OkStatus();
  }
  const double norm = std::sqrt(*squared_norm);
  if (request.clip_norm > 0 && norm > request.clip_norm) {
    ops.Scale(*compute_, elements_, static_cast<float>(request.clip_norm / norm), gradient.device.floats());
  }
  Send(gradient, 0, 0, elements_, request);
  return absl::OkStatus();
}

absl::StatusOr<Engine::StepOutcome> Engine::Step(const StepRequest& request) {
  StepOutcome outcome;
  Gradient& gradient = gradients_[static_cast<std::size_t>(request.gradient_slot)];
  const bool whole = request.whole || request.clip_norm > 0;
  const auto batch = static_cast<std::size_t>(options_.batch);
  const std::size_t total = request.records.size();
  const DevicePtr<const float> weights = UseWeights(request.weights_slot);
  if (request.encoder != nullptr) request.encoder->BeginStep();
  StepOptions options;
  options.given_up = request.given_up;
  for (std::size_t first = 0; first < total; first += batch) {
    const std::size_t size = std::min(batch, total - first);
    const bool last = first + size == total;
    outcome.data_time += LoadInputs(*request.data, request.records.subspan(first, size));
    options.accumulate = first > 0;
    options.scale = static_cast<float>(static_cast<double>(size) / static_cast<double>(total));
    GradientReady ready;
    if (last && !whole) {
      ready = [&](std::size_t tensor) {
        const Tensor& spec = model_.manifest().tensors()[tensor];
        Send(gradient, tensor, spec.offset, spec.count, request);
      };
    }
    StepResult* const result = result_.as<StepResult>();
    const absl::Status computed =
        model_.Step(*compute_, weights, gradient.device.floats(), InputBatch(size), options, ready, result);
    outcome.given_up = absl::IsCancelled(computed);
    if (!outcome.given_up) RETURN_IF_ERROR(computed);
    RETURN_IF_ERROR(compute_->Synchronize());
    if (outcome.given_up) return outcome;
    AddResult(&outcome);
  }
  if (whole) RETURN_IF_ERROR(FinishWhole(gradient, request));
  return outcome;
}

absl::StatusOr<Engine::StepOutcome> Engine::Evaluate(int weights_slot, const Dataset& data, std::uint64_t first,
                                                     std::uint64_t count) {
  StepOutcome outcome;
  std::vector<std::uint64_t> records(static_cast<std::size_t>(options_.batch));
  const DevicePtr<const float> weights = UseWeights(weights_slot);
  for (std::uint64_t done = 0; done < count; done += records.size()) {
    const std::size_t size = std::min<std::uint64_t>(records.size(), count - done);
    std::iota(records.begin(), records.end(), first + done);
    outcome.data_time += LoadInputs(data, absl::MakeConstSpan(records).subspan(0, size));
    StepResult* const result = result_.as<StepResult>();
    RETURN_IF_ERROR(model_.Evaluate(*compute_, weights, InputBatch(size), result));
    RETURN_IF_ERROR(compute_->Synchronize());
    AddResult(&outcome);
  }
  return outcome;
}

void Engine::FlushSender() {
  std::promise<void> flushed;
  sender_->Post([&flushed] { flushed.set_value(); });
  flushed.get_future().wait();
}

}  // namespace leeway
