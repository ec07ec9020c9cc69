// The models by name: what `--model` accepts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace leeway {

struct ModelSpec {
  // As `--model` says it: "softmax", "mlp" (hidden layers 1024,1024), "mlp:512,256" (these hidden layers), "cnn".
  std::string name;
  // One sample: height x width x channels floats, channels last; flat features are 1 x 1 x count.
  std::int64_t channels = 1;
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t classes = 0;
};

// INVALID_ARGUMENT: a name that is not known, hidden sizes that are not numbers in [1, 2^20], dimensions that are
// not positive or above 2^24 values in all, classes outside [2, 2^20], an image too small for the model. The message
// names what is allowed.
absl::StatusOr<std::unique_ptr<Model>> MakeModel(const ModelSpec& spec);

// For help texts: {"softmax", "mlp[:hidden,...]", "cnn"}.
std::vector<std::string> ModelNames();

}  // namespace leeway
