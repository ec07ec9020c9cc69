// ParseModelName: what `--model` accepts, without a model, data or a device.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/models/gpt/gpt_config.h"

namespace leeway {

struct ModelName {
  enum Family { kSoftmax, kMlp, kCnn, kGpt } family = kSoftmax;
  std::vector<std::int64_t> hidden;  // kMlp: the sizes of its hidden layers
  GptConfig gpt;                     // kGpt
};

// "softmax", "mlp" (hidden layers 1024,1024), "mlp:512,256" (these hidden layers), "cnn", "gpt" and
// "gpt:SIZES" (gpt_config.h). INVALID_ARGUMENT: a name that is not known, hidden sizes that are not numbers in
// [1, 2^20], sizes that ParseGptSizes refuses. The message names the flag and what is allowed.
absl::StatusOr<ModelName> ParseModelName(const std::string& name);

// For help texts: {"softmax", "mlp[:hidden,...]", "cnn", "gpt[:sizes]"}.
std::vector<std::string> ModelNames();

}  // namespace leeway
