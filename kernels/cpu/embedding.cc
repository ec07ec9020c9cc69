#include "kernels/cpu/embedding.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/loops.h"

namespace leeway {

absl::Status CpuEmbeddingForward(const EmbeddingShape& shape, const std::int32_t* tokens, const float* wte,
                                 const float* wpe, float* y) {
  for (std::int64_t row = 0; row < shape.batch * shape.length; ++row) {
    const std::int32_t token = tokens[row];
    if (token < 0 || token >= shape.vocabulary) {
      return absl::InvalidArgumentError(absl::StrCat("embedding: sequence ", row / shape.length,
                                                     " of the batch has token ", token, " at ", row % shape.length,
                                                     "; the model has tokens 0 to ", shape.vocabulary - 1));
    }
    loops::Add(shape.width, wte + token * shape.width, wpe + row % shape.length * shape.width, y + row * shape.width);
  }
  return absl::OkStatus();
}

void CpuEmbeddingBackward(const EmbeddingShape& shape, const std::int32_t* tokens, const float* dy, float* dwte,
                          float* dwpe, Write write_dwpe) {
  const std::int64_t width = shape.width;
  if (write_dwpe == Write::kOverwrite) std::fill_n(dwpe, shape.length * width, 0.0f);
  for (std::int64_t row = 0; row < shape.batch * shape.length; ++row) {
    const float* const d = dy + row * width;
    float* const token = dwte + tokens[row] * width;
    float* const position = dwpe + row % shape.length * width;
    loops::Add(width, token, d, token);
    loops::Add(width, position, d, position);
  }
}

}  // namespace leeway
