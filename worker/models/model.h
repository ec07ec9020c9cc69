// Model: what is trained. It names its tensors (manifest) and turns (weights, batch) into (loss, gradients) on a
// Backend, reporting each tensor's gradient as soon as it is final, last layers first, so that its way to the
// servers starts while backward still runs.
//
// Thread safety: none; a Model is used by one thread at a time.
// Ownership: the weights and the gradients are the caller's: two flat device buffers of manifest().elements()
// floats, in which tensor i lies at manifest().tensors()[i].offset. The Model owns its activations; it must not
// outlive the Backend it was prepared for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "common/manifest.h"
#include "kernels/backend.h"
#include "kernels/ops.h"

namespace leeway {

// A batch in device memory: features [size, height, width, channels], labels [size], each in [0, classes). For a model
// of tokens: tokens [size, context], labels [size, context], the token that follows each, all in [0, classes).
struct Batch {
  DevicePtr<const float> features;
  DevicePtr<const std::int32_t> labels;
  std::int64_t size = 0;
  DevicePtr<const std::int32_t> tokens = {};
};

// loss_sum and correct over the labels of a batch (kernels/ops.h).
using StepResult = LossSum;

struct StepOptions {
  // Add to the gradients instead of overwriting them.
  bool accumulate = false;
  // Multiplies the batch's mean gradient (the mean over its labels). Pieces of one batch, each with scale = its size /
  // all sizes and accumulate from the second on, sum up to the mean over all of them.
  float scale = 1;
  // Asked before each layer: true when nobody wants the rest. (Worth something where the backend computes while it is
  // told to, as `cpu` does: a GPU is told everything long before it has computed it.) Empty: never.
  std::function<bool()> given_up = nullptr;
  bool GivenUp() const { return given_up && given_up(); }
};

// Called with the index of a tensor whose gradient is final in stream order: work enqueued on the step's stream
// from now on (a copy, an event's record) sees it.
using GradientReady = std::function<void(std::size_t tensor)>;

class Model {
 public:
  virtual ~Model() = default;

  virtual const Manifest& manifest() const = 0;

  // Allocates everything that steps of up to `max_batch` samples need; called once, before all else.
  // INVALID_ARGUMENT: max_batch outside [1, 2^20]. RESOURCE_EXHAUSTED: not that much memory. INTERNAL: the backend
  // failed.
  virtual absl::Status Prepare(Backend& backend, int max_batch) = 0;

  // Enqueues forward and backward of `batch`: gradients (mean over the batch, by `options`) and *result, which are
  // there once the stream has passed them: Synchronize, then read. (*result in memory of AllocateHost keeps the
  // copy asynchronous on a GPU.) Calls `gradient_ready`, unless empty, once per tensor, before it returns.
  // INVALID_ARGUMENT: batch.size outside [1, max_batch]. FAILED_PRECONDITION: not prepared.
  // A label that names no class is INVALID_ARGUMENT from the stream's Synchronize. CANCELLED: given up; the gradients
  // that were not reported, and *result, are not there.
  virtual absl::Status Step(Stream& stream, DevicePtr<const float> weights, DevicePtr<float> gradients,
                            const Batch& batch, const StepOptions& options, const GradientReady& gradient_ready,
                            StepResult* result) = 0;

  // Enqueues forward alone. Errors as Step.
  virtual absl::Status Evaluate(Stream& stream, DevicePtr<const float> weights, const Batch& batch,
                                StepResult* result) = 0;
};

}  // namespace leeway
