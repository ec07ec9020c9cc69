#include "kernels/cpu/softmax.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace leeway {

absl::Status CpuSoftmaxCrossEntropy(std::int64_t batch, std::int64_t classes, const float* logits,
                                    const std::int32_t* labels, float scale, float* dlogits, LossSum* sum) {
  *sum = {};
  for (std::int64_t row = 0; row < batch; ++row) {
    const std::int32_t label = labels[row];
    if (label < 0 || label >= classes) {
      return absl::InvalidArgumentError(absl::StrCat("softmax: row ", row, " of the batch has label ", label,
                                                     "; the model has classes 0 to ", classes - 1));
    }
    const float* z = logits + row * classes;
    const float* top = std::max_element(z, z + classes);
    // Subtracting the largest logit keeps every exponential in [0, 1].
    const float largest = *top;
    const float label_logit = z[label];
    if (top - z == label) ++sum->correct;
    float total = 0;
    for (std::int64_t c = 0; c < classes; ++c) total += std::exp(z[c] - largest);
    sum->loss_sum += std::log(static_cast<double>(total)) - (static_cast<double>(label_logit) - largest);
    if (dlogits == nullptr) continue;
    float* dz = dlogits + row * classes;
    const float share = scale / total;
    for (std::int64_t c = 0; c < classes; ++c) dz[c] = std::exp(z[c] - largest) * share;
    dz[label] -= scale;
  }
  return absl::OkStatus();
}

}  // namespace leeway
