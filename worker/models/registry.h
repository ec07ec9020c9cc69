// The models by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace leeway {

struct ModelSpec {
  std::string name;  // as `--model` says it (model_name.h)
  // One sample: height x width x channels floats, channels last; flat features are 1 x 1 x count. Of tokens: width, the
  // length of a sequence.
  std::int64_t channels = 1;
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t classes = 0;  // of tokens: those that there are
  bool tokens = false;       // the data are sequences of tokens
};

// INVALID_ARGUMENT: a name that ParseModelName refuses, dimensions that are not positive or above 2^24 values in all,
// classes outside [2, 2^20], an image too small for the model, tokens for a model of features or features for one of
// tokens, sequences of another length than the model's context. The message names what is allowed.
absl::StatusOr<std::unique_ptr<Model>> MakeModel(const ModelSpec& spec);

}  // namespace leeway
