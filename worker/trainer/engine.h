// Engine: a model on a backend with the buffers of a pipeline: weights and gradients in d + 1 slots each, their
// host sides (where the network writes and reads), and the inputs of one micro-batch. All allocated once.
//
// Weights go up, and gradients come down, on streams of their own, beside what computes. A host side of bfloat16 is
// what crosses the network; the device converts it. Gradients in other encodings come down as a DeviceEncoder's bytes.
// All that pays where host and device are apart (ConvertsOnDevice).
//
// Thread safety: Step and Evaluate from one thread; WeightsArrived from any. weights() and gradient() point to memory
// that the network may use while the slot is not in a step. on_final, on_encoded and on_failed run on the engine's
// sender thread. Ownership: the backend and the model outlive the Engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/executor.h"
#include "common/mutex.h"
#include "kernels/backend.h"
#include "worker/client/chunk_id.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"
#include "worker/trainer/device_encoder.h"

namespace leeway {

class Engine {
 public:
  // What comes to the host of a gradient.
  enum class Gradients { kFloats, kHalves, kEncoded };

  struct Options {
    int batch = 0;               // samples of one micro-batch
    int weights_slots = 1;       // d + 1
    int gradient_slots = 1;      // d + 1; 0: evaluation only
    std::uint64_t features = 0;  // floats of one sample, or its tokens
    std::uint64_t labels = 1;    // of one sample
    bool half_weights = false;   // the host's weights are bfloat16
    Gradients gradients = Gradients::kFloats;
  };

  struct StepRequest {
    int weights_slot = 0;
    int gradient_slot = 0;
    absl::Span<const std::uint64_t> records;  // not empty; more than a micro-batch are accumulated
    const Dataset* data = nullptr;
    bool whole = false;    // on_final comes once, for everything, after the gradient was checked and clipped
    double clip_norm = 0;  // > 0 (implies whole): the gradient's greatest Euclidean norm
    // The host's gradient elements [first, first + count) are final. In order, from the sender thread.
    std::function<void(std::uint64_t first, std::uint64_t count)> on_final;
    // kEncoded, instead of on_final: `encoder` has the bytes of this chunk. It outlives the calls.
    std::function<void(ChunkId)> on_encoded;
    DeviceEncoder* encoder = nullptr;
    // The device failed on the way to the host: something will never be final. After the others, from the sender
    // thread.
    std::function<void(const absl::Status&)> on_failed = [](const absl::Status&) {};
    // `whole` only: the gradient is not finite, nothing of it will be final.
    std::function<void(const std::string& why)> on_refused;
    // StepOptions::given_up: nobody wants the gradient any more. On a GPU that is looked at between micro-batches.
    std::function<bool()> given_up;
  };

  // Summed over samples, of each the mean over its labels: a sequence of tokens counts as one sample.
  struct StepOutcome {
    double loss_sum = 0;
    double correct = 0;
    absl::Duration data_time;  // gathering the records
    bool given_up = false;     // Step: the rest was not computed, the loss is not there
  };

  // RESOURCE_EXHAUSTED: not that much memory; else the backend's or the model's error.
  static absl::StatusOr<std::unique_ptr<Engine>> Make(Backend& backend, Model& model, const Options& options);
  ~Engine();

  // Whether the host's memory is not the device's, so that fewer bytes between them are worth a conversion there.
  static absl::StatusOr<bool> ConvertsOnDevice(Backend& backend);

  // Of each pair one is null, by Options; of gradients that are encoded both are.
  float* weights(int slot) const { return options_.half_weights ? nullptr : HostWeights(slot).floats(); }
  std::uint16_t* half_weights(int slot) const {
    return options_.half_weights ? HostWeights(slot).as<std::uint16_t>() : nullptr;
  }
  const float* gradient(int slot) const {
    return options_.gradients == Gradients::kFloats ? HostGradient(slot).floats() : nullptr;
  }
  const std::uint16_t* half_gradient(int slot) const {
    return options_.gradients == Gradients::kHalves ? HostGradient(slot).as<std::uint16_t>() : nullptr;
  }
  Gradients gradients() const { return options_.gradients; }
  // For the steps of kEncoded. Errors as DeviceEncoder::Make.
  absl::StatusOr<std::shared_ptr<DeviceEncoder>> NewEncoder(const Placement& placement,
                                                            const PushEncoding& encoding) const {
    return DeviceEncoder::Make(backend_, placement, encoding, options_.gradient_slots);
  }
  std::uint64_t elements() const { return elements_; }

  // The host's weights of `slot` are complete: they go to the device now, while another slot's step computes. They stay
  // as they are until the step on them has ended. Without it the step sends them first.
  void WeightsArrived(int slot);

  // Computes the mean gradient over the records. Blocks until the loss is there, and all of the gradient is on its way.
  // INVALID_ARGUMENT: a label names no class; INTERNAL: the device failed.
  absl::StatusOr<StepOutcome> Step(const StepRequest& request);

  // Loss and correct answers over `count` records of `data` from `first` on.
  absl::StatusOr<StepOutcome> Evaluate(int weights_slot, const Dataset& data, std::uint64_t first, std::uint64_t count);

  // Waits until every on_final or on_encoded that is due has run.
  void FlushSender();

  // Runs `fn` on the sender thread, after what Step has given it.
  void PostToSender(std::function<void()> fn) { sender_->Post(std::move(fn)); }

  // Bytes of host memory that Make will allocate (the model's activations are not known).
  static std::uint64_t EstimateBytes(std::uint64_t elements, const Options& options);

 private:
  struct Weights {
    DeviceMemory device;
    std::unique_ptr<Event> uploaded;
    bool arrived = false;  // and uploaded since the last step on them
  };
  struct Gradient {
    DeviceMemory device;
    HostMemory host;
    std::vector<std::unique_ptr<Event>> computed;  // per tensor, on the compute stream
    std::vector<std::unique_ptr<Event>> copied;    // per tensor, on the copy stream; unused with an encoder
  };

  Engine(Backend& backend, Model& model, const Options& options);
  absl::Status Allocate();
  absl::Duration LoadInputs(const Dataset& data, absl::Span<const std::uint64_t> records);
  Batch InputBatch(std::size_t size) const;
  void AddResult(StepOutcome* outcome) const;
  const HostMemory& HostWeights(int slot) const { return host_weights_[static_cast<std::size_t>(slot)]; }
  const HostMemory& HostGradient(int slot) const { return gradients_[static_cast<std::size_t>(slot)].host; }
  void Upload(int slot) LEEWAY_REQUIRES(upload_mu_);
  DevicePtr<const float> UseWeights(int slot);
  void Download(Gradient& gradient, std::uint64_t first, std::uint64_t count);
  void Send(Gradient& gradient, std::size_t tensor, std::uint64_t first, std::uint64_t count,
            const StepRequest& request);
  absl::Status FinishWhole(Gradient& gradient, const StepRequest& request);

  Backend& backend_;
  Model& model_;
  const Options options_;
  const std::uint64_t elements_;

  std::unique_ptr<Stream> compute_;
  std::unique_ptr<Stream> copy_;
  std::vector<HostMemory> host_weights_;
  Mutex upload_mu_;
  std::unique_ptr<Stream> upload_ LEEWAY_GUARDED_BY(upload_mu_);
  std::vector<Weights> weights_ LEEWAY_GUARDED_BY(upload_mu_);
  DeviceMemory half_weights_;   // on their way, of one slot at a time: the upload stream's; empty without them
  DeviceMemory half_gradient_;  // the copy stream's
  std::vector<Gradient> gradients_;
  DeviceMemory inputs_, labels_;  // inputs: features, or tokens
  HostMemory host_inputs_, host_labels_;
  HostMemory result_;  // a StepResult
  DeviceMemory scalar_;
  HostMemory host_scalar_;            // a double or an index
  std::unique_ptr<Executor> sender_;  // last: its tasks use the rest
};

}  // namespace leeway
