// BatchOf: a model and the batch that its step is timed with.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "worker/models/registry.h"

namespace leeway {

struct BatchOf {
  ModelSpec spec;
  int batch = 0;

  // Floats or tokens of the whole batch.
  std::int64_t values() const { return batch * spec.height * spec.width * spec.channels; }
  std::int64_t labels() const { return spec.tokens ? values() : batch; }
  // For people: "cnn, batch 128", "gpt:10m, batch 32 x 256".
  std::string name() const {
    std::string name = absl::StrCat(spec.name, ", batch ", batch);
    if (spec.tokens) absl::StrAppend(&name, " x ", spec.width);
    return name;
  }
};

// Images as Fashion-MNIST's.
inline BatchOf ImageBatch(const std::string& model, int batch) {
  return {{.name = model, .channels = 1, .height = 28, .width = 28, .classes = 10}, batch};
}

inline BatchOf GptBatch(const std::string& model, int batch, std::int64_t context, std::int64_t tokens) {
  return {{.name = model, .width = context, .classes = tokens, .tokens = true}, batch};
}

}  // namespace leeway
