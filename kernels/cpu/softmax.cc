#include "kernels/cpu/softmax.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/exp_loops.h"
#include "kernels/cpu/loops.h"

namespace leeway {

absl::Status CpuSoftmaxCrossEntropy(const LogitsShape& shape, const float* logits, const std::int32_t* labels,
                                    float scale, float* dlogits, LossSum* sum) {
  *sum = {};
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const std::int32_t label = labels[row];
    if (label < 0 || label >= shape.classes) {
      return absl::InvalidArgumentError(absl::StrCat("softmax: row ", row, " of the batch has label ", label,
                                                     "; the model has classes 0 to ", shape.classes - 1));
    }
    const float* z = logits + row * shape.columns;
    // Subtracting the largest logit keeps every exponential in [0, 1].
    const float largest = loops::Max(shape.classes, z);
    const float label_logit = z[label];
    if (label_logit == largest && std::find(z, z + label, largest) == z + label) ++sum->correct;
    float* const dz = dlogits == nullptr ? nullptr : dlogits + row * shape.columns;
    const double total = loops::ExpSum(shape.classes, 1.0f, largest, z, dz);
    sum->loss_sum += std::log(total) - (static_cast<double>(label_logit) - largest);
    if (dz == nullptr) continue;
    loops::Scale(static_cast<std::size_t>(shape.classes), scale / static_cast<float>(total), dz);
    dz[label] -= scale;
    std::fill(dz + shape.classes, dz + shape.columns, 0.0f);
  }
  return absl::OkStatus();
}

}  // namespace leeway
