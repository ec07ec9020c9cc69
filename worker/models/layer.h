// Layer: one step of a Sequential model. It knows its shapes from its construction, keeps no weights and no
// activations of its own: they are handed to it, as device memory, in each call.
//
// Thread safety: none; a layer belongs to its model.
// To add one: a file with a class and its factory, and a gradient check in tests/worker/models/layers_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/ops.h"
#include "proto/manifest.pb.h"

namespace leeway {

// One sample between two layers: height x width x channels, channels last.
struct Shape {
  std::int64_t height, width, channels;
  std::int64_t elements() const { return height * width * channels; }
};

struct ForwardArgs {
  Stream& stream;
  std::int64_t batch;
  const std::vector<DevicePtr<const float>>& weights;  // one per tensor of the layer
  DevicePtr<const float> x;                            // [batch, input]
  DevicePtr<float> y;                                  // [batch, output]
};

struct BackwardArgs {
  Stream& stream;
  std::int64_t batch;
  const std::vector<DevicePtr<const float>>& weights;
  const std::vector<DevicePtr<float>>& gradients;
  Write write;                                   // to the gradients
  DevicePtr<const float> x, y;                   // as forward had them
  DevicePtr<float> dy;                           // scratch afterwards: the layer may change it
  DevicePtr<float> dx;                           // null for the first layer: nobody needs it
  const std::function<void()>& gradients_ready;  // to be called once, as early as the gradients are enqueued
};

class Layer {
 public:
  virtual ~Layer() = default;

  virtual Shape output() const = 0;
  // In the order of `weights` and `gradients`; names are within the layer ("weight").
  virtual std::vector<v1::TensorSpec> tensors() const { return {}; }
  // Allocates what steps of up to `max_batch` need. Errors as Backend's.
  virtual absl::Status Prepare(Backend& backend, std::int64_t max_batch) = 0;
  virtual void Forward(const ForwardArgs& args) = 0;
  virtual void Backward(const BackwardArgs& args) = 0;
};

// A weight or bias in [-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for linear layers and convolutions
// (Kaiming uniform with a = sqrt(5)); weights are of group "weight", biases of group "bias".
v1::TensorSpec WeightTensor(const std::vector<std::int64_t>& shape, std::int64_t fan_in);
v1::TensorSpec BiasTensor(std::int64_t count, std::int64_t fan_in);

}  // namespace leeway
