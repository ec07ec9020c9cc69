// GptConfig: the sizes of a `gpt` model, and the names that `--model` has for them.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace leeway {

struct GptConfig {
  std::int64_t layers = 0;
  std::int64_t width = 0;  // of the residual stream; a multiple of heads
  std::int64_t heads = 0;
  std::int64_t context = 0;     // tokens of a sequence
  std::int64_t vocabulary = 0;  // 0: what the data has

  std::int64_t head_size() const { return width / heads; }
  // Rows of the embedding: the vocabulary, padded to a multiple of 64, which matrix units like.
  std::int64_t padded_vocabulary() const { return (vocabulary + 63) / 64 * 64; }
};

// `sizes` is what follows "gpt:": a size by name, single sizes, or both, as "10m", "layers=2,width=64",
// "10m,context=512". What is not said is as in "1m". INVALID_ARGUMENT: an unknown word, a size out of range, a width
// that is no multiple of heads. The message names `--model` and what is allowed.
absl::StatusOr<GptConfig> ParseGptSizes(const std::string& sizes);

}  // namespace leeway
